import { createHash } from 'node:crypto'
import { Transform, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  AbortMultipartUploadCommand,
  CreateMultipartUploadCommand,
  HeadObjectCommand,
  UploadPartCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { retry } from '@multiboard-sync/shared/retry'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { fromStorageError } from './storage-error.ts'

/** The smallest part S3 takes: it is memory, times parts in flight, times tables at once. */
const MIN_PART_BYTES = 5 * 1024 * 1024
/** S3's limit ("Multipart upload limits"). */
const MAX_PART_BYTES = 5 * 1024 ** 3
/** S3 allows 10,000; the rest is for estimates that are too low. */
const TARGET_PARTS = 8000
/** Two parts in flight hide the latency; more only take memory. */
const PARTS_IN_FLIGHT = 2
/** How long an upload that failed may go on, so that its beginning and its end are known to the store and to us. */
const GRACE_MS = 5000
/** The SDK's own attempts are over in a second or two; a store that restarts must not cost an export of an hour. */
const PART_RETRY = { attempts: 6, firstDelayMs: 500, maxDelayMs: 10_000 }
const ABORT_TIMEOUT_MS = 20_000

export interface PutStreamOptions {
  /** An upper estimate. Only the size of the multipart parts, and so the largest possible object, follows from it. */
  expectedBytes: number
  signal: AbortSignal
  /** Told as soon as a multipart upload is open, so that a journal can end it after a crash. */
  onUpload?: (uploadId: string) => void
}

export function multipartBytes(expectedBytes: number): number {
  return Math.min(MAX_PART_BYTES, Math.max(MIN_PART_BYTES, Math.ceil(expectedBytes / TARGET_PARTS)))
}

/**
 * Uploads a stream of unknown length and returns its length and SHA-256 as sent. On any failure the source is
 * destroyed, the multipart upload aborted, and the first error thrown: the source's own unchanged, the store's as
 * SyncError. The SDK gets Buffers, never a stream: streams make it send aws-chunked bodies, which older servers refuse
 * or store as they are.
 */
export async function putStream(
  client: S3Client,
  at: { bucket: string; key: string },
  body: Readable,
  options: PutStreamOptions,
): Promise<{ bytes: number; sha256: string }> {
  const doing = `uploading ${at.key}`
  const stop = new AbortController()
  const onAbort = () => stop.abort(options.signal.reason)
  if (options.signal.aborted) onAbort()
  options.signal.addEventListener('abort', onAbort, { once: true })
  try {
    const hash = createHash('sha256')
    let bytes = 0
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, callback) {
        hash.update(chunk)
        bytes += chunk.length
        callback(null, chunk)
      },
    })
    const upload = new Upload({
      client: watchClient(client, stop, doing, options.onUpload),
      params: { Bucket: at.bucket, Key: at.key, Body: meter, ContentType: 'application/gzip' },
      partSize: multipartBytes(options.expectedBytes),
      queueSize: PARTS_IN_FLIGHT,
    })
    const feeding = pipeline(body, meter, { signal: stop.signal }).catch((error: unknown) => stop.abort(error))
    const uploading = upload.done().catch((error: unknown) => {
      stop.abort(body.errored ?? fromStorageError(error, doing))
      meter.destroy()
    })
    await Promise.all([feeding, uploading])
    stop.signal.throwIfAborted()
    await checkStored(client, at, bytes, options.signal)
    return { bytes, sha256: hash.digest('hex') }
  } finally {
    options.signal.removeEventListener('abort', onAbort)
  }
}

/**
 * The client as Upload sees it. Upload cannot cancel requests, tells nobody the upload's id, and goes on reading after
 * one part has failed; here every request obeys `stop`, and the first failure stops everything.
 */
function watchClient(
  client: S3Client,
  stop: AbortController,
  doing: string,
  onUpload: ((uploadId: string) => void) | undefined,
): S3Client {
  async function sendPart(command: UploadPartCommand): Promise<unknown> {
    return await retry({ signal: stop.signal, ...PART_RETRY }, async () => {
      return await client.send(command, { abortSignal: stop.signal }).catch((error: unknown) => {
        throw fromStorageError(error, doing)
      })
    })
  }

  async function send(command: Parameters<S3Client['send']>[0]): Promise<unknown> {
    try {
      if (command instanceof AbortMultipartUploadCommand) {
        return await client.send(command, { abortSignal: AbortSignal.timeout(ABORT_TIMEOUT_MS) })
      }
      if (command instanceof CreateMultipartUploadCommand) {
        const created = await client.send(command, { abortSignal: graceAfter(stop.signal) })
        if (created.UploadId !== undefined) onUpload?.(created.UploadId)
        return created
      }
      if (command instanceof UploadPartCommand) return await sendPart(command)
      return await client.send(command, { abortSignal: stop.signal })
    } catch (error) {
      stop.abort(fromStorageError(error, doing))
      throw error
    }
  }
  return Object.assign(Object.create(client), { send })
}

/** A request cut off while it opens an upload would leave one that nobody knows of: it gets a moment to answer. */
function graceAfter(signal: AbortSignal): AbortSignal {
  const late = new AbortController()
  const start = () => void setTimeout(() => late.abort(signal.reason), GRACE_MS).unref()
  if (signal.aborted) start()
  else signal.addEventListener('abort', start, { once: true })
  return late.signal
}

/** Several servers accept a body that is cut off or wrong without a word. */
async function checkStored(client: S3Client, at: { bucket: string; key: string }, bytes: number, signal: AbortSignal) {
  const stored = await client
    .send(new HeadObjectCommand({ Bucket: at.bucket, Key: at.key }), { abortSignal: signal })
    .catch((error: unknown) => {
      signal.throwIfAborted()
      throw fromStorageError(error, `checking ${at.key}`)
    })
  if (stored.ContentLength !== bytes) {
    throw new SyncError(
      'storage-failed',
      `The object store kept ${stored.ContentLength} of ${bytes} bytes of ${at.key}.`,
      {
        hint: 'Try again; if it stays, this store is not fit for archives.',
        retryable: true,
      },
    )
  }
}
