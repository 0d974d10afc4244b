import { randomUUID } from 'node:crypto'
import { RequestError } from '@hono/node-server'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { internal } from './answer-error.ts'
import { describeError, type Log } from './log.ts'
import { problemResponse } from './problem.ts'

/** For what comes before the app, and has no address that can be read: the server alone can answer it. */
export function answerUnreadable(error: unknown, log: Log): Response {
  const request = randomUUID()
  if (error instanceof RequestError) {
    const hint = 'Send a path that begins with a slash, and the header "host".'
    return problemResponse(
      new SyncError('invalid-request', 'The address of the request is not valid.', { hint }),
      request,
    )
  }
  log({ level: 'error', event: 'request-failed', request, ...describeError(error) })
  return problemResponse(internal(error), request)
}
