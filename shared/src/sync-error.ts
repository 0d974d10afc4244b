/**
 * Every failure that people or machines are told of has one of these codes. Codes are never reused for another meaning.
 * The control plane stores codes as free text, so an agent may know more of them than its control plane does.
 */
export type SyncErrorCode =
  // configuration and command line
  | 'usage'
  | 'config-invalid'
  | 'key-missing'
  // databases
  | 'database-unknown'
  | 'database-unreachable'
  | 'database-auth'
  | 'database-missing'
  | 'database-pooler'
  | 'database-read-only'
  | 'database-version'
  | 'connection-lost'
  | 'permission-denied'
  | 'lock-timeout'
  | 'old-snapshot'
  | 'disk-full'
  | 'query-failed'
  // policy, selection, plan
  | 'policy-denied'
  | 'policy-changed'
  | 'window-closed'
  | 'too-many-jobs'
  | 'archive-too-old'
  | 'database-mismatch'
  | 'target-protected'
  | 'same-database'
  | 'target-busy'
  | 'table-unknown'
  | 'selection-empty'
  | 'schema-mismatch'
  | 'extension-missing'
  | 'role-missing'
  | 'target-older'
  | 'target-not-empty'
  | 'target-empty'
  | 'unsupported-object'
  | 'row-drop'
  | 'schema-changed'
  | 'nothing-to-undo'
  // object storage and archives
  | 'bucket-missing'
  | 'storage-auth'
  | 'storage-unreachable'
  | 'storage-failed'
  | 'archive-unknown'
  | 'archive-incomplete'
  | 'archive-damaged'
  | 'archive-untrusted'
  // search
  | 'mapping-invalid'
  | 'collection-unknown'
  | 'search-not-configured'
  | 'search-not-ready'
  | 'search-unreachable'
  | 'search-auth'
  | 'search-full'
  | 'search-failed'
  | 'search-changed'
  | 'documents-rejected'
  | 'search-shrunk'
  | 'search-proof-failed'
  // orders
  | 'order-too-large'
  | 'order-malformed'
  | 'order-wrong-type'
  | 'order-unknown-key'
  | 'order-bad-signature'
  | 'order-wrong-issuer'
  | 'order-wrong-audience'
  | 'order-expired'
  | 'order-not-yet-valid'
  | 'order-replayed'
  | 'order-superseded'
  | 'order-unknown-claim'
  | 'clock-skew'
  // the run of a job
  | 'canceled'
  | 'lease-lost'
  | 'fence-superseded'
  | 'already-done'
  | 'constraint-violated'
  | 'load-failed'
  | 'proof-failed'
  | 'outcome-unknown'
  | 'crashed'
  | 'internal'
  // control plane
  | 'control-plane-unreachable'
  | 'control-plane-refused'
  | 'unauthorized'
  | 'forbidden'
  | 'agent-revoked'
  | 'enrollment-refused'
  | 'rate-limited'
  | 'not-ready'
  | 'not-found'
  | 'agent-unknown'
  | 'invalid-request'
  | 'malformed-json'
  | 'body-too-large'
  | 'unsupported-media-type'
  | 'method-not-allowed'
  | 'idempotency-conflict'
  | 'idempotency-busy'
  | 'conflict'
  | 'stale-epoch'
  | 'job-finished'
  | 'too-late'
  | 'event-gap'

export interface SyncErrorOptions {
  /** What to do now, in one sentence. */
  hint?: string
  /** True when the same call may succeed later without anybody changing anything. Default false. */
  retryable?: boolean
  cause?: unknown
  /** Further lines, one finding each (for example every schema difference). Never row values, URLs or secrets. */
  details?: string[]
}

/** The one error type of this product. Its message, hint and details are fit to leave the agent; its cause is not. */
export class SyncError extends Error {
  readonly code: SyncErrorCode
  readonly hint: string
  readonly retryable: boolean
  readonly details: string[]

  constructor(code: SyncErrorCode, message: string, options: SyncErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SyncError'
    this.code = code
    this.hint = options.hint ?? ''
    this.retryable = options.retryable ?? false
    this.details = options.details ?? []
  }
}

/** Refusals: the job was never begun, nothing was written anywhere. Everything else that goes wrong is a failure. */
const REFUSALS: ReadonlySet<SyncErrorCode> = new Set([
  'database-unknown',
  'database-pooler',
  'database-read-only',
  'database-version',
  'policy-denied',
  'policy-changed',
  'window-closed',
  'too-many-jobs',
  'archive-too-old',
  'database-mismatch',
  'target-protected',
  'same-database',
  'target-busy',
  'table-unknown',
  'selection-empty',
  'schema-mismatch',
  'extension-missing',
  'role-missing',
  'target-older',
  'target-not-empty',
  'target-empty',
  'unsupported-object',
  'row-drop',
  'nothing-to-undo',
  'archive-unknown',
  'archive-incomplete',
  'archive-untrusted',
  'mapping-invalid',
  'collection-unknown',
  'search-not-configured',
  'search-not-ready',
  'order-too-large',
  'order-malformed',
  'order-wrong-type',
  'order-unknown-key',
  'order-bad-signature',
  'order-wrong-issuer',
  'order-wrong-audience',
  'order-expired',
  'order-not-yet-valid',
  'order-replayed',
  'order-superseded',
  'order-unknown-claim',
  'clock-skew',
])

/** True when an error with this code means that the job was refused before it began, not that it failed. */
export function isRefusal(code: SyncErrorCode): boolean {
  return REFUSALS.has(code)
}

/** Any thrown value as a SyncError. What is not one becomes `internal` with a fixed text, so nothing leaks by accident. */
export function toSyncError(thrown: unknown): SyncError {
  if (thrown instanceof SyncError) return thrown
  return new SyncError('internal', 'An unexpected error ended the job.', {
    hint: "See the agent's own log for the cause and report it as a bug.",
    cause: thrown,
  })
}
