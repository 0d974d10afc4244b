import { createHash } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  UploadPartCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { listUploads } from './list-uploads.ts'
import { fromStorageError, readStorageFault } from './storage-error.ts'

/** How long an upload that failed may go on, so that its beginning and its end are known to the store and to us. */
const GRACE_MS = 5000
const ABORT_TIMEOUT_MS = 20_000

export interface Place {
  bucket: string
  key: string
}

/** One open multipart upload. Everything is tried as often as `patiently` says, and throws SyncErrors. */
export interface Multipart {
  readonly uploadId: string
  send(partNumber: number, bytes: Buffer): Promise<void>
  /** Makes the object of the parts that were sent. Nothing may be under way. */
  complete(): Promise<void>
  /** Ends the upload, for seconds at most, whatever happened to it. Nothing may be under way. Never throws. */
  abort(): Promise<void>
}

interface MultipartOptions {
  contentType: string
  signal: AbortSignal
  /** Runs a request, again where that may help. Answers of one attempt may be lost: it must be fit to be sent twice. */
  patiently: <T>(request: () => Promise<T>) => Promise<T>
}

/**
 * Opens an upload; nobody else may be writing this key. Where an answer was lost, the store may know of an upload that
 * we do not: those of this key are ended, where the store can list them.
 */
export async function openMultipart(client: S3Client, at: Place, options: MultipartOptions): Promise<Multipart> {
  const { signal, patiently } = options
  const Bucket = at.bucket
  const Key = at.key
  let isSure = true
  const open = async (): Promise<string> => {
    const command = new CreateMultipartUploadCommand({ Bucket, Key, ContentType: options.contentType })
    const created = await client.send(command, { abortSignal: graceAfter(signal) }).catch((error: unknown) => {
      isSure &&= isRefusal(error)
      throw error
    })
    isSure &&= created.$metadata.attempts === 1
    if (created.UploadId === undefined) throw new SyncError('storage-failed', `The store opened no upload of ${Key}.`)
    return created.UploadId
  }
  const uploadId = await patiently(open).catch(async (error: unknown) => {
    if (!isSure) await endUploads(client, at, undefined, GRACE_MS)
    throw error
  })
  if (!isSure) await endUploads(client, at, uploadId, ABORT_TIMEOUT_MS)
  const etags: string[] = []

  return {
    uploadId,

    async send(PartNumber, Body) {
      const command = new UploadPartCommand({ Bucket, Key, UploadId: uploadId, PartNumber, Body })
      const { ETag } = await patiently(async () => await client.send(command, { abortSignal: signal }))
      if (ETag === undefined) throw new SyncError('storage-failed', `The object store named no part of ${Key}.`)
      etags[PartNumber - 1] = ETag
    },

    async complete() {
      const Parts = etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 }))
      const command = new CompleteMultipartUploadCommand({
        Bucket,
        Key,
        UploadId: uploadId,
        MultipartUpload: { Parts },
      })
      await patiently(async () => {
        await client.send(command, { abortSignal: signal }).catch(async (error: unknown) => {
          // An answer that was lost: the upload is gone because it is complete already.
          const isGone = readStorageFault(error).status === 404 && !signal.aborted
          if (!isGone || !(await isMadeOf(client, at, etags, signal))) throw error
        })
      })
    },

    async abort() {
      // Parts and their bill stay if this fails, until a later start, `clean` or the bucket's own rule ends the upload.
      const command = new AbortMultipartUploadCommand({ Bucket, Key, UploadId: uploadId })
      await client.send(command, { abortSignal: AbortSignal.timeout(ABORT_TIMEOUT_MS) }).catch(() => undefined)
    },
  }
}

/** A request cut off while it opens an upload would leave one that nobody knows of: it gets a moment to answer. */
function graceAfter(signal: AbortSignal): AbortSignal {
  const late = new AbortController()
  const start = () => void setTimeout(() => late.abort(signal.reason), GRACE_MS).unref()
  if (signal.aborted) start()
  else signal.addEventListener('abort', start, { once: true })
  return late.signal
}

function isRefusal(error: unknown): boolean {
  const { status } = readStorageFault(error)
  return status !== undefined && status < 500
}

/** Ends the open uploads of a key except one. Best effort: what it cannot end costs money, and nothing else. */
async function endUploads(
  client: S3Client,
  { bucket, key }: Place,
  except: string | undefined,
  timeoutMs: number,
): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    for await (const one of listUploads(client, { bucket, prefix: key }, signal)) {
      if (one.key !== key || one.uploadId === except) continue
      const command = new AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: one.uploadId })
      await client.send(command, { abortSignal: signal })
    }
  } catch {
    // Not every store can list uploads, not every key may, and the store may be away.
  }
}

/**
 * Whether the object is the one that these parts make: S3's ETag of an object from parts is the MD5 of the parts' MD5s.
 * A store with other ETags makes this false, and the part is sent anew.
 */
async function isMadeOf(client: S3Client, at: Place, etags: string[], signal: AbortSignal): Promise<boolean> {
  const bare = etags.map((etag) => etag.replaceAll('"', ''))
  if (bare.some((etag) => !/^[0-9a-f]{32}$/.test(etag))) return false
  const joined = createHash('md5')
    .update(Buffer.from(bare.join(''), 'hex'))
    .digest('hex')
  const head = new HeadObjectCommand({ Bucket: at.bucket, Key: at.key })
  const found = await client.send(head, { abortSignal: signal }).catch((error: unknown) => {
    if (readStorageFault(error).status === 404) return undefined
    throw fromStorageError(error, `checking ${at.key}`)
  })
  return found?.ETag?.replaceAll('"', '') === `${joined}-${bare.length}`
}
