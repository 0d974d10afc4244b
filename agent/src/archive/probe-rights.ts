import {
  AbortMultipartUploadCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { readStorageFault } from './storage-error.ts'

/*
 * Finds out by trying what a key may do with the bucket. Promises: writes one small object, always under the same name, and
 * nothing else; tells every right that lacks, not the first one only. Never: opens an upload, deletes, or needs more rights
 * than the agent does.
 */

export interface StoreProbe {
  /** Rights that the key lacks, and what for: `s3:PutObject: writing archives`. */
  missing: string[]
  /** How far the store's clock is ahead of ours, in milliseconds; undefined when it does not say. */
  skewMs: number | undefined
  /** Whether an object that is overwritten or deleted can be had back. `unknown`: the key may not ask, or the store does not say. */
  versioning: 'on' | 'off' | 'unknown'
}

export interface ProbedPlace {
  bucket: string
  prefix: string
  /** Of the one object that is written and read. */
  key: string
}

/** One request; its errors are SyncErrors. */
type Ask = <T>(doing: string, signal: AbortSignal, request: () => Promise<T>) => Promise<T>

/** Whatever its right, the key itself is not one. */
const BAD_KEYS: ReadonlySet<string> = new Set([
  'InvalidAccessKeyId',
  'InvalidToken',
  'ExpiredToken',
  'RequestTimeTooSkewed',
  'SignatureDoesNotMatch',
])
/** No store gives such an id: aborting it asks for the right and changes nothing. */
const NO_UPLOAD = 'multiboard-sync-doctor'

/**
 * Throws `storage-auth` when the key is none, `bucket-missing`, `storage-unreachable`, and `storage-failed` when what was
 * written is not what is read.
 */
export async function probeRights(
  client: S3Client,
  { bucket: Bucket, prefix: Prefix, key: Key }: ProbedPlace,
  text: string,
  ask: Ask,
  signal: AbortSignal,
): Promise<StoreProbe> {
  const missing: string[] = []
  /** Undefined: it was refused. */
  const may = async <T>(right: string, doing: string, request: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await ask(doing, signal, request)
    } catch (thrown) {
      signal.throwIfAborted()
      if (!isRefusal(thrown)) throw thrown
      missing.push(`${right}: ${doing}`)
      return undefined
    }
  }
  const options = { abortSignal: signal }
  const list = new ListObjectsV2Command({ Bucket, Prefix, MaxKeys: 1 })
  let skewMs: number | undefined
  list.middlewareStack.add(
    (next) => async (call) => {
      const answer = await next(call)
      skewMs = skewOf(answer.response)
      return answer
    },
    { step: 'deserialize', priority: 'low' },
  )
  await may('s3:ListBucket', 'listing archives', async () => await client.send(list, options))
  const put = await may('s3:PutObject', 'writing archives', async () => {
    return await client.send(new PutObjectCommand({ Bucket, Key, Body: Buffer.from(text) }), options)
  })
  const read = await may('s3:GetObject', 'reading archives', async () => {
    try {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }), options)
      return (await Body?.transformToString()) ?? ''
    } catch (error) {
      if (readStorageFault(error).code === 'NoSuchKey') return text
      throw error
    }
  })
  if (put !== undefined && read !== undefined && read !== text) {
    throw new SyncError('storage-failed', `What was written to "${Bucket}" was not read back.`, {
      hint: 'The store answers with older contents; look for a cache in front of it.',
    })
  }
  const uploads = new ListMultipartUploadsCommand({ Bucket, Prefix, MaxUploads: 1 })
  await may('s3:ListBucketMultipartUploads', 'finding open uploads', async () => {
    await client.send(uploads, options).catch(throwRefusal)
  })
  const abort = new AbortMultipartUploadCommand({ Bucket, Key, UploadId: NO_UPLOAD })
  await may('s3:AbortMultipartUpload', 'ending uploads that failed', async () => {
    await client.send(abort, options).catch(throwRefusal)
  })
  return { missing, skewMs, versioning: await readVersioning(client, Bucket, signal) }
}

/** Archives do without this right, so that nothing that goes wrong here says anything but that it is not known. */
async function readVersioning(
  client: S3Client,
  Bucket: string,
  signal: AbortSignal,
): Promise<StoreProbe['versioning']> {
  try {
    const { Status } = await client.send(new GetBucketVersioningCommand({ Bucket }), { abortSignal: signal })
    return Status === 'Enabled' ? 'on' : 'off'
  } catch {
    signal.throwIfAborted()
    return 'unknown'
  }
}

/** What a store answers besides a refusal (no such upload, not implemented) says that the right is there. */
function throwRefusal(error: unknown): void {
  const { status } = readStorageFault(error)
  if (status === undefined || status === 401 || status === 403 || status >= 500) {
    if (status !== 501) throw error
  }
}

function isRefusal(thrown: unknown): boolean {
  const { code, cause } = toSyncError(thrown)
  return code === 'storage-auth' && !BAD_KEYS.has(readStorageFault(cause).code)
}

/** The Date header counts whole seconds. */
function skewOf(response: unknown): number | undefined {
  if (typeof response !== 'object' || response === null || !('headers' in response)) return undefined
  const { headers } = response
  if (typeof headers !== 'object' || headers === null || !('date' in headers)) return undefined
  const date = Date.parse(String(headers.date))
  return Number.isNaN(date) ? undefined : date - Date.now()
}
