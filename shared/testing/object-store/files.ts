import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { writeRecord, type Bucket } from './buckets.ts'
import type { Blob, StoredObject } from './records.ts'

// Sockets deliver 64 KiB; a bigger buffer lets the file stream write several of them in one call.
const WRITE_BUFFER_BYTES = 1024 * 1024
const READ_BUFFER_BYTES = 512 * 1024

/**
 * Fills a new file under data/ through `fill`; the file gets its name there only when fill succeeded.
 * The caller owns the blob: it commits it into a record or drops it.
 */
export async function writeBlob<Result extends { size: number }>(
  bucket: Bucket,
  fill: (sink: Writable) => Promise<Result>,
): Promise<Result & { blob: Blob }> {
  const file = randomUUID()
  const temporary = join(bucket.dir, 'tmp', file)
  // Opened before anything can fail: a stream that opens by itself may create the file after it was removed again.
  const handle = await open(temporary, 'wx')
  const sink = handle.createWriteStream({ highWaterMark: WRITE_BUFFER_BYTES })
  try {
    const result = await fill(sink)
    renameSync(temporary, blobPath(bucket, file))
    return { ...result, blob: { file, size: result.size } }
  } catch (error) {
    // Also closes the file when the request was refused before its first byte.
    sink.destroy()
    rmSync(temporary, { force: true })
    throw error
  }
}

/**
 * Puts the object in place of what has its key. Synchronous on purpose: between a check of a precondition and the
 * commit that follows in the same turn, no other request can run; this is what makes conditional writes atomic.
 */
export function commitObject(bucket: Bucket, object: StoredObject): void {
  const old = bucket.objects.get(object.key)
  writeRecord(recordPath(bucket, object.key), object)
  bucket.objects.set(object.key, object)
  if (!old) bucket.sortedKeys = undefined
  const kept = new Set(object.blobs.map((blob) => blob.file))
  if (old)
    dropBlobs(
      bucket,
      old.blobs.filter((blob) => !kept.has(blob.file)),
    )
}

export function removeObject(bucket: Bucket, key: string): void {
  const old = bucket.objects.get(key)
  if (!old) return
  rmSync(recordPath(bucket, key), { force: true })
  bucket.objects.delete(key)
  bucket.sortedKeys = undefined
  dropBlobs(bucket, old.blobs)
}

export function dropBlobs(bucket: Bucket, blobs: Blob[]): void {
  for (const { file } of blobs) {
    if (bucket.readers.has(file)) bucket.doomed.add(file)
    else rmSync(blobPath(bucket, file), { force: true })
  }
}

/** Keeps the object's content readable until disposed, also when it is overwritten or deleted meanwhile. */
export function holdForReading(bucket: Bucket, object: StoredObject): Disposable {
  const files = object.blobs.map((blob) => blob.file)
  for (const file of files) bucket.readers.set(file, (bucket.readers.get(file) ?? 0) + 1)
  return {
    [Symbol.dispose]() {
      for (const file of files) {
        const left = (bucket.readers.get(file) ?? 1) - 1
        if (left > 0) {
          bucket.readers.set(file, left)
          continue
        }
        bucket.readers.delete(file)
        if (bucket.doomed.delete(file)) rmSync(blobPath(bucket, file), { force: true })
      }
    },
  }
}

/** The bytes [start, end) of the object, across its blobs; each file is open only while it is read. */
export async function* readBytes(
  bucket: Bucket,
  object: StoredObject,
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  let offset = 0
  for (const blob of object.blobs) {
    const from = Math.max(start - offset, 0)
    const to = Math.min(end - offset, blob.size)
    offset += blob.size
    if (from >= to) continue
    const options = { start: from, end: to - 1, highWaterMark: READ_BUFFER_BYTES }
    yield* createReadStream(blobPath(bucket, blob.file), options) as AsyncIterable<Buffer>
  }
}

export function blobPath(bucket: Bucket, file: string): string {
  return join(bucket.dir, 'data', file)
}

/** Keys are hashed: `n/a` and `n/a/b` coexist, and 1024 bytes of any characters fit a file name. */
function recordPath(bucket: Bucket, key: string): string {
  return join(bucket.dir, 'objects', `${createHash('sha256').update(key).digest('hex')}.json`)
}
