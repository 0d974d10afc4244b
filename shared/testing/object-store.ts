import { mkdtemp, open, rm, truncate } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findBucket, makeBucket, openBuckets } from './object-store/buckets.ts'
import { blobPath, commitObject, holdForReading, readBytes, removeObject } from './object-store/files.ts'
import { requireObject } from './object-store/get-object.ts'
import { uploadsOf } from './object-store/list-uploads.ts'
import { keysOf } from './object-store/listing.ts'
import { serve } from './object-store/serve.ts'

/*
 * An S3 server for development and tests, on Node alone, in this process, on loopback only.
 *
 * It promises: signatures are verified; a body is held against every checksum and length it came with before it
 * becomes an object; an object is whole or not there, also when the client or the server is killed; an overwrite
 * changes nothing for those who read; conditional writes have exactly one winner; what it does not do is answered 501.
 * It never holds content in memory, listens beyond 127.0.0.1, expires anything, or keeps versions.
 * It is ours and so proves nothing alone: the same tests are to run against a server of others as well.
 */

const REGION = 'us-east-1'
// A client's idle connection outlives the pauses between its requests; the default of 5 s gives ECONNRESET now and then.
const KEEP_ALIVE_MS = 60_000

export interface ObjectStore extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`; path-style only. */
  endpoint: string
  region: string
  accessKeyId: string
  secretAccessKey: string
  dataDir: string
  /** Makes the bucket; nothing happens when it is there. */
  createBucket(name: string): Promise<void>
  /** Multipart uploads that are neither completed nor aborted, by key and age. */
  openUploads(bucket: string): Promise<{ key: string; uploadId: string }[]>
  /** Inverts the lowest bit of the byte at the offset, behind the server's back: size, ETag and checksums stay. */
  flipByte(bucket: string, key: string, offset: number): Promise<void>
  /** Leaves the first `bytes` bytes of the object; ETag and checksums stay those of the whole. */
  truncate(bucket: string, key: string, bytes: number): Promise<void>
  /** Takes the object away; nothing happens when it is not there. */
  remove(bucket: string, key: string): Promise<void>
  /** Keys with the prefix, in UTF-8 binary order. */
  keys(bucket: string, prefix?: string): Promise<string[]>
  /** From now on the key lacks these rights, by Amazon's names (`s3:PutObject`): AccessDenied. None: it lacks none again. */
  deny(...rights: string[]): void
  /** From now on the bucket says that it keeps versions. It keeps none. */
  sayVersioned(bucket: string): void
  /** The whole object in memory; for what a test wants to look at. */
  read(bucket: string, key: string): Promise<Buffer>
  /** Ends all connections and, when the server made its data folder itself, removes it. */
  close(): Promise<void>
}

export interface ObjectStoreOptions {
  /** Kept on close, and read again at the next start. Default: a fresh folder, removed on close. */
  dataDir?: string
  /** Default: a free one. */
  port?: number
  accessKeyId?: string
  secretAccessKey?: string
}

/** Starts the server. Rejects with Node's error when the port is taken or the folder cannot be written. */
export async function startObjectStore(options: ObjectStoreOptions = {}): Promise<ObjectStore> {
  const { accessKeyId = 'development-key', secretAccessKey = 'development-secret', port = 0 } = options
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'object-store-')))
  const buckets = openBuckets(dataDir)
  const denied = new Set<string>()
  const serving = { buckets, dataDir, credentials: { accessKeyId, secretAccessKey, region: REGION }, denied }
  const running = new Set<Promise<void>>()
  const handle = (message: IncomingMessage, response: ServerResponse) => {
    const request = serve(serving, message, response).finally(() => running.delete(request))
    running.add(request)
  }
  // No time limit for a request: a slow upload of many gigabytes is legitimate.
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: KEEP_ALIVE_MS }, handle)
  server.on('checkContinue', handle)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The object store listens on no port.')

  const find = (bucket: string, key: string) => {
    const found = findBucket(buckets, bucket)
    return { bucket: found, object: requireObject(found, key) }
  }
  let closing: Promise<void> | undefined
  const stop = async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
    await Promise.all(running)
    if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true })
  }
  const close = async () => await (closing ??= stop())

  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    region: REGION,
    accessKeyId,
    secretAccessKey,
    dataDir,
    createBucket: async (name) => void makeBucket(buckets, dataDir, name),
    openUploads: async (bucket) =>
      uploadsOf(findBucket(buckets, bucket)).map(({ key, uploadId }) => ({ key, uploadId })),
    flipByte: async (bucketName, key, offset) => {
      const { bucket, object } = find(bucketName, key)
      let start = 0
      for (const blob of object.blobs) {
        if (offset >= start && offset < start + blob.size) {
          return await flipByteAt(blobPath(bucket, blob.file), offset - start)
        }
        start += blob.size
      }
      throw new RangeError(`${key} has no byte ${offset}: it ends at ${object.size}.`)
    },
    truncate: async (bucketName, key, bytes) => {
      const { bucket, object } = find(bucketName, key)
      let left = Math.min(bytes, object.size)
      const size = left
      const blobs = []
      for (const blob of object.blobs) {
        const kept = Math.min(left, blob.size)
        left -= kept
        if (kept === 0) continue
        if (kept < blob.size) await truncate(blobPath(bucket, blob.file), kept)
        blobs.push({ file: blob.file, size: kept })
      }
      commitObject(bucket, { ...object, blobs, size })
    },
    deny: (...rights) => {
      denied.clear()
      for (const right of rights) denied.add(right)
    },
    sayVersioned: (bucket) => void (findBucket(buckets, bucket).saysVersioned = true),
    remove: async (bucket, key) => removeObject(findBucket(buckets, bucket), key),
    keys: async (bucket, prefix) => keysOf(findBucket(buckets, bucket), prefix),
    read: async (bucketName, key) => {
      const { bucket, object } = find(bucketName, key)
      using _held = holdForReading(bucket, object)
      return Buffer.concat(await Array.fromAsync(readBytes(bucket, object, 0, object.size)))
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

async function flipByteAt(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, offset)
  byte.writeUInt8(byte.readUInt8() ^ 1)
  await file.write(byte, 0, 1, offset)
}
