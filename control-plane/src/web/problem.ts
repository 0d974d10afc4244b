import { SyncError, type SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import type { Problem } from '@multiboard-sync/shared/protocol'

/** RFC 9457 problems: every error of this server is one, so that an agent can tell our answer from a proxy's. */

type Extensions = Pick<Problem, 'errors' | 'ack_aseq'>

interface More extends Extensions {
  hint?: string
  /** The same call may succeed after so many seconds. */
  retryAfterS?: number
  headers?: Record<string, string>
}

/** A SyncError whose problem carries more than code and hint. */
export class ProblemError extends SyncError {
  readonly extensions: Extensions
  readonly headers: Record<string, string>

  constructor(code: SyncErrorCode, message: string, more: More) {
    const { hint, retryAfterS, headers = {}, ...extensions } = more
    super(code, message, { ...(hint === undefined ? {} : { hint }), retryable: retryAfterS !== undefined })
    this.extensions = extensions
    this.headers = { ...headers, ...(retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) }) }
  }
}

const statusOf: Partial<Record<SyncErrorCode, number>> = {
  'malformed-json': 400,
  unauthorized: 401,
  forbidden: 403,
  'agent-revoked': 403,
  'enrollment-refused': 403,
  'not-found': 404,
  'method-not-allowed': 405,
  conflict: 409,
  'idempotency-busy': 409,
  'stale-epoch': 409,
  'job-finished': 409,
  'fence-superseded': 409,
  'too-late': 409,
  'nothing-to-undo': 409,
  'body-too-large': 413,
  'unsupported-media-type': 415,
  'event-gap': 416,
  'rate-limited': 429,
  internal: 500,
  'not-ready': 503,
}
// What a person asked for is well formed and cannot be done: unknown names, the policy's no, a key used twice.
const OTHERWISE = 422

export function statusOfCode(code: SyncErrorCode): number {
  return statusOf[code] ?? OTHERWISE
}

export function problemResponse(error: SyncError, requestId: string): Response {
  const status = statusOfCode(error.code)
  const problem: Problem = {
    type: `urn:multiboard-sync:problem:${error.code}`,
    title: error.message,
    status,
    code: error.code,
    ...(error.hint === '' ? {} : { hint: error.hint }),
    retryable: error.retryable,
    instance: requestId,
    ...(error instanceof ProblemError ? error.extensions : {}),
  }
  const headers = new Headers({ 'content-type': 'application/problem+json' })
  if (error instanceof ProblemError) for (const [name, value] of Object.entries(error.headers)) headers.set(name, value)
  if (status === 401) headers.set('www-authenticate', 'Bearer')
  return new Response(JSON.stringify(problem), { status, headers })
}
