import { SyncError } from '@multiboard-sync/shared/sync-error'

const UNREACHABLE: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ETIMEDOUT',
  'TimeoutError',
])
const REFUSED: ReadonlySet<string> = new Set([
  'AccessDenied',
  'Forbidden',
  'InvalidAccessKeyId',
  'InvalidToken',
  'SignatureDoesNotMatch',
])
/** S3 itself is never full; its relatives have words of their own for it, and 507. */
const FULL: ReadonlySet<string> = new Set(['QuotaExceeded', 'XMinioAdminBucketQuotaExceeded', 'XMinioStorageFull'])
const WRONG_REGION: ReadonlySet<string> = new Set([
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
  'PermanentRedirect',
])

/** What of an SDK or network error is safe to tell: S3's code word and the HTTP status. Messages may hold key ids and URLs. */
export interface StorageFault {
  code: string
  status: number | undefined
}

export function readStorageFault(thrown: unknown): StorageFault {
  if (typeof thrown !== 'object' || thrown === null) return { code: 'unknown', status: undefined }
  const code = [word(thrown, 'code'), word(thrown, 'Code'), word(thrown, 'name')].find((text) => text !== undefined)
  const metadata = '$metadata' in thrown ? thrown.$metadata : undefined
  const hasStatus = typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata
  const status = hasStatus && typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined
  return { code: code ?? 'unknown', status }
}

/**
 * An error of the SDK or of the network as SyncError. `doing` is a phrase: "uploading manifest.json".
 * Codes: bucket-missing, storage-auth, storage-unreachable (retryable), archive-incomplete for a missing object,
 * storage-failed with S3's code word for the rest (retryable when the status is 5xx or asks to slow down).
 */
export function fromStorageError(thrown: unknown, doing: string): SyncError {
  if (thrown instanceof SyncError) return thrown
  const { code, status } = readStorageFault(thrown)
  const cause = thrown
  if (code === 'NoSuchBucket') {
    return new SyncError('bucket-missing', `The bucket does not exist (${doing}).`, {
      hint: 'Create the bucket, or correct S3_BUCKET and S3_ENDPOINT.',
      cause,
    })
  }
  if (code === 'RequestTimeTooSkewed') {
    return new SyncError('storage-auth', `The object store refused the time of the request (${doing}).`, {
      hint: "Set this machine's clock: it differs from the store's by more than 15 minutes.",
      cause,
    })
  }
  if (WRONG_REGION.has(code)) {
    return new SyncError('storage-failed', `The bucket lies in another region (${code}, ${doing}).`, {
      hint: 'Correct S3_REGION and S3_ENDPOINT.',
      cause,
    })
  }
  if (REFUSED.has(code) || status === 401 || status === 403) {
    return new SyncError('storage-auth', `The object store refused the key (${safeWord(code)}, ${doing}).`, {
      hint: 'Check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, and what this key may do with the bucket and prefix.',
      cause,
    })
  }
  if (code === 'NoSuchKey') {
    return new SyncError('archive-incomplete', `An object is not in the bucket (${doing}).`, { cause })
  }
  if (status === undefined && UNREACHABLE.has(code)) {
    return new SyncError('storage-unreachable', `The object store cannot be reached (${safeWord(code)}, ${doing}).`, {
      hint: 'Check S3_ENDPOINT, the network, and that the store is up.',
      retryable: true,
      cause,
    })
  }
  if (status === 507 || FULL.has(code)) {
    return new SyncError('storage-failed', `The object store is full (${safeWord(code)}, ${doing}).`, {
      hint: 'Free space in the object store or raise the quota of the bucket, then start the job again.',
      cause,
    })
  }
  const retryable = code === 'SlowDown' || status === 429 || (status !== undefined && status >= 500 && status !== 501)
  return new SyncError('storage-failed', `The object store answered ${safeWord(code)} (${doing}).`, {
    hint: retryable ? 'Try again; if it stays, look at the state of the object store.' : '',
    retryable,
    cause,
  })
}

function word(thrown: object, property: string): string | undefined {
  const value: unknown = Reflect.get(thrown, property)
  return typeof value === 'string' && value !== '' && value !== 'Error' ? value : undefined
}

/** A code comes from the other side: only what looks like one is repeated. */
function safeWord(code: string): string {
  return /^[A-Za-z0-9_]{1,64}$/.test(code) ? code : 'an unknown error'
}
