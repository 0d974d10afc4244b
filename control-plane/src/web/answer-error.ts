import { toSyncError, SyncError } from '@multiboard-sync/shared/sync-error'
import type { Context } from 'hono'
import { routeOf } from './log-request.ts'
import { describeError, type Log } from './log.ts'
import { problemResponse } from './problem.ts'

/** Any error as a problem. The one place that logs what we did not foresee; of that nothing is told outside. */
export function answerError(error: Error, c: Context<{ Variables: { requestId: string } }>, log: Log): Response {
  const known = error instanceof SyncError ? error : internal(error)
  const request = c.get('requestId')
  if (known.code === 'internal') {
    const { method } = c.req
    log({ level: 'error', event: 'request-failed', request, method, route: routeOf(c), ...describeError(error) })
  }
  return problemResponse(known, request)
}

/** What nobody foresaw. Most often our database away: no text of it leaves; the same call may succeed later. */
export function internal(cause: unknown): SyncError {
  const { code } = toSyncError(cause)
  return new SyncError(code, 'The control plane could not answer.', {
    hint: "Try again; if it stays, look for the request's id in the control plane's log.",
    retryable: true,
    cause,
  })
}
