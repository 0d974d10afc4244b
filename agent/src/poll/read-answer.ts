import type { z } from 'zod'
import { problemSchema } from '@multiboard-sync/shared/protocol'
import type { SyncError } from '@multiboard-sync/shared/sync-error'
import { fromProblem, unreachable } from './control-plane-error.ts'

/** Orders are at most 64 KiB; nothing else in an answer is larger. */
const ANSWER_MAX_BYTES = 1024 * 1024

export interface Answer<T> {
  reply: T
  status: number
  /** From the Date header; undefined when there is none or it does not parse. */
  serverDate: Date | undefined
}

/**
 * An answer is ours when it is a success of application/json in the expected form, or a failure of
 * application/problem+json. Everything else, a proxy's page or a redirect to a login with whatever status, is thrown as
 * retryable `control-plane-unreachable` and never ends a job.
 */
export async function readAnswer<T>(response: Response, schema: z.ZodType<T>): Promise<Answer<T>> {
  const { status } = response
  const retryAfterMs = readRetryAfter(response.headers.get('retry-after'))
  const foreign = (what: string, cause?: unknown): SyncError =>
    unreachable(`${what} (HTTP ${status})`, { status, retryAfterMs, cause })

  const type = response.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase()
  const isProblem = type === 'application/problem+json' && status >= 400
  if (!isProblem && !(type === 'application/json' && response.ok)) {
    await response.body?.cancel().catch(() => undefined)
    throw foreign('something else answered in its place')
  }
  let json: unknown
  try {
    json = JSON.parse(await readText(response))
  } catch (cause) {
    throw foreign('its answer was cut off or garbled', cause)
  }
  if (isProblem) {
    const problem = problemSchema.safeParse(json)
    throw problem.success
      ? fromProblem(problem.data, status, retryAfterMs)
      : foreign('its answer was garbled', problem.error)
  }
  const reply = schema.safeParse(json)
  if (!reply.success) throw foreign('its answer does not have the expected form', reply.error)
  return { reply: reply.data, status, serverDate: readDate(response.headers.get('date')) }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > ANSWER_MAX_BYTES) throw new Error(`The answer is larger than ${ANSWER_MAX_BYTES} bytes.`)
    chunks.push(chunk)
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
}

function readDate(header: string | null): Date | undefined {
  const date = new Date(header ?? Number.NaN)
  return Number.isNaN(date.getTime()) ? undefined : date
}

/** RFC 9110, 10.2.3: seconds or a date. */
function readRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000
  const date = readDate(header)
  return date ? Math.max(0, date.getTime() - Date.now()) : undefined
}
