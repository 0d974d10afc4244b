import { problemSchema } from '../../shared/src/protocol.ts'
import { SyncError, type SyncErrorCode } from '../../shared/src/sync-error.ts'

export interface Api {
  url: string
  adminToken: string
}

/** No call of the demo takes longer, on a machine however busy. */
const callTimeoutMs = 30_000

/** One call as a person. Answers the body; throws the control plane's problem as a SyncError. */
export async function callApi(api: Api, method: 'GET' | 'POST', path: string, signal: AbortSignal, body?: unknown) {
  const response = await fetch(`${api.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${api.adminToken}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(callTimeoutMs)]),
  })
  if (!response.ok) throw await problemOf(response)
  const answer: unknown = await response.json()
  return answer
}

export async function problemOf(response: Response): Promise<SyncError> {
  const problem = problemSchema.parse(await response.json())
  const details = problem.errors?.map(({ field, message }) => `${field}: ${message}`) ?? []
  // The control plane may know more codes than these types.
  return new SyncError(problem.code as SyncErrorCode, problem.title, {
    ...(problem.hint === undefined ? {} : { hint: problem.hint }),
    details,
  })
}
