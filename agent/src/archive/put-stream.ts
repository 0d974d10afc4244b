import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { HeadObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { retry } from '@multiboard-sync/shared/retry'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { cutParts } from './cut-parts.ts'
import { openMultipart, type Multipart, type Place } from './multipart.ts'
import { nextPartBytes } from './part-sizes.ts'
import { patientFor, type Patience } from './patience.ts'
import { fromStorageError } from './storage-error.ts'

/** While one part is sent the next is filled, or sent as well: that hides the latency; more only take memory. */
const PARTS_IN_FLIGHT = 2

export interface PutStreamOptions {
  /** A guess. The memory that the upload takes follows from it; an object of any size fits (part-sizes.ts). */
  expectedBytes: number
  signal: AbortSignal
  /** Default application/gzip. */
  contentType?: string
  /** Told as soon as a multipart upload is open, so that a journal can end it after a crash. */
  onUpload?: (uploadId: string) => void
  /** Memory of parts, shared by uploads: what one does not need any more is the next one's. */
  memory?: Buffer[]
  /** For tests. */
  partBytes?: typeof nextPartBytes
  /** Asked before each request. */
  patience?: () => Patience
}

/**
 * Uploads a stream of unknown length and returns its length and SHA-256 as sent; nobody else may be writing this key. On
 * any failure the source is destroyed, the multipart upload aborted, and the first error thrown: the source's own
 * unchanged, the store's as SyncError. The SDK gets Buffers, never a stream: streams make it send aws-chunked bodies, which
 * older servers refuse or store as they are. In memory are two parts at most.
 */
export async function putStream(
  client: S3Client,
  at: Place,
  body: Readable,
  options: PutStreamOptions,
): Promise<{ bytes: number; sha256: string }> {
  const doing = `uploading ${at.key}`
  const { contentType = 'application/gzip', partBytes = nextPartBytes, patience = () => patientFor.upload } = options
  const stop = new AbortController()
  const fail = (reason: unknown) => {
    stop.abort(reason)
    body.destroy(reason instanceof Error ? reason : new Error('stopped', { cause: reason }))
  }
  const onAbort = () => fail(options.signal.reason)
  if (options.signal.aborted) onAbort()
  options.signal.addEventListener('abort', onAbort, { once: true })
  const patiently = async <T>(request: () => Promise<T>): Promise<T> =>
    await retry({ signal: stop.signal, ...patience() }, async () => {
      return await request().catch((error: unknown) => {
        throw fromStorageError(error, doing)
      })
    })

  const hash = createHash('sha256')
  let [bytes, partNumber] = [0, 0]
  let upload: Multipart | undefined
  const inFlight = new Set<Promise<void>>()
  try {
    const nextBytes = (sent: number, sentBytes: number): number => partBytes(options.expectedBytes, sent, sentBytes)
    for await (const part of cutParts(body, nextBytes, options.memory)) {
      hash.update(part.bytes)
      bytes += part.bytes.length
      partNumber += 1
      if (part.isLast && partNumber === 1) {
        const command = new PutObjectCommand({
          Bucket: at.bucket,
          Key: at.key,
          Body: part.bytes,
          ContentType: contentType,
        })
        await patiently(async () => await client.send(command, { abortSignal: stop.signal }))
        part.giveBack()
        break
      }
      upload ??= await openMultipart(client, at, { contentType, signal: stop.signal, patiently })
      if (partNumber === 1) options.onUpload?.(upload.uploadId)
      const sending = upload.send(partNumber, part.bytes).then(() => {
        part.giveBack()
        inFlight.delete(sending)
      })
      sending.catch(fail)
      inFlight.add(sending)
      if (inFlight.size >= PARTS_IN_FLIGHT) await Promise.race(inFlight)
    }
    await Promise.all(inFlight)
    await upload?.complete()
    stop.signal.throwIfAborted()
    await patiently(async () => await checkStored(client, at, bytes, stop.signal))
    return { bytes, sha256: hash.digest('hex') }
  } catch (error) {
    fail(error)
    await Promise.allSettled(inFlight)
    await upload?.abort()
    throw stop.signal.reason
  } finally {
    options.signal.removeEventListener('abort', onAbort)
  }
}

/** Several servers accept a body that is cut off or wrong without a word. */
async function checkStored(client: S3Client, at: Place, bytes: number, signal: AbortSignal): Promise<void> {
  const head = new HeadObjectCommand({ Bucket: at.bucket, Key: at.key })
  const stored = await client.send(head, { abortSignal: signal }).catch((error: unknown) => {
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
