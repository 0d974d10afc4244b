import type { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { retry } from '@multiboard-sync/shared/retry'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { getStream, type GetStreamOptions } from './get-stream.ts'
import { listUploads } from './list-uploads.ts'
import { patientFor, type Patience } from './patience.ts'
import { probeRights, type StoreProbe } from './probe-rights.ts'
import { putStream, type PutStreamOptions } from './put-stream.ts'
import { fromStorageError, readStorageFault } from './storage-error.ts'

// The door to the object store: only this file and those it imports talk to S3.
// It promises: what it returns from was stored or read whole; an outage of seconds only takes time, once the store was seen; every failure is a SyncError without key, URL or secret;
// after an AbortSignal only the ending of an upload goes on, for seconds; no multipart upload of ours stays open unknown.
// It never: deletes or overwrites an object on purpose, relies on conditional puts as a lock (many stores ignore them),
// sends checksums that old servers refuse: the manifest's SHA-256 of every object is the proof, not the store's word.

const CONNECT_TIMEOUT_MS = 10_000
/** No byte in either direction for so long: the connection is given up and the request tried again. */
const IDLE_TIMEOUT_MS = 60_000
const ATTEMPTS = 5
/** More than the tables in flight times their parts, so that nothing waits for a socket without need. */
const MAX_SOCKETS = 64

export interface StoreConfig {
  endpoint?: string
  region: string
  bucket: string
  prefix: string
  accessKeyId: string
  secretAccessKey: string
  forcePathStyle: boolean
}

export interface ObjectStore extends AsyncDisposable {
  readonly bucket: string
  /** Lists under the prefix: the bucket is there and the key right, or SyncError bucket-missing | storage-auth | storage-unreachable. */
  check(signal: AbortSignal): Promise<void>
  /** What the key may do, by trying; writes `text` under the key. See probe-rights.ts. */
  probe(key: string, text: string, signal: AbortSignal): Promise<StoreProbe>
  /** Uploads a stream in parts; see put-stream.ts. `bytes` and `sha256` are of what was sent. */
  putStream(key: string, body: Readable, options: PutStreamOptions): Promise<{ bytes: number; sha256: string }>
  /** One small object. With onlyIfAbsent, another object under the key is SyncError storage-failed, where the store knows conditions. */
  putText(key: string, text: string | Buffer, options: PutTextOptions): Promise<void>
  /** Reads an object, going on where a connection broke; see get-stream.ts. */
  get(key: string, options: GetStreamOptions): Promise<Readable>
  /** A whole object; SyncError `archive-damaged` when it is larger than maxBytes. */
  getText(key: string, options: { signal: AbortSignal; maxBytes: number }): Promise<Buffer>
  /** Undefined when there is no such object. */
  head(key: string, signal: AbortSignal): Promise<{ bytes: number } | undefined>
  /** Objects below a prefix in the order of their keys' UTF-8 bytes. With a delimiter, only those before the next one. */
  list(prefix: string, signal: AbortSignal, delimiter?: string): AsyncIterable<{ key: string; bytes: number }>
  /** Names (without slashes) of the folders right below a prefix that ends in a slash. */
  listFolders(prefix: string, signal: AbortSignal): Promise<string[]>
  /** Open multipart uploads below the prefix; undefined where the store cannot list them. */
  openUploads(prefix: string, signal: AbortSignal): Promise<{ key: string; uploadId: string }[] | undefined>
  /** 1, or 0 when there is no such upload any more. */
  abortUpload(key: string, uploadId: string, signal: AbortSignal): Promise<number>
  /** Aborts the known uploads and whatever the store lists below the prefix; returns how many it aborted. */
  abortUploads(prefix: string, known: { key: string; uploadId: string }[], signal: AbortSignal): Promise<number>
}

interface PutTextOptions {
  signal: AbortSignal
  contentType?: string
  onlyIfAbsent?: boolean
}

/** Opens no connection yet. */
export function openObjectStore(config: StoreConfig): ObjectStore {
  const client = createClient(config)
  const Bucket = config.bucket
  let hasAnswered = false
  client.middlewareStack.add(
    (next) => async (call) => {
      const answer = await next(call)
      hasAnswered = true
      return answer
    },
    { step: 'initialize' },
  )
  const patience = (kind: 'upload' | 'request'): Patience => patientFor[hasAnswered ? kind : 'firstContact']

  /** Runs one request, again where that may help and does no harm, and gives its errors our words. */
  async function ask<T>(doing: string, signal: AbortSignal, request: () => Promise<T>): Promise<T> {
    return await retry({ signal, ...patience('request') }, async () => {
      return await request().catch((error: unknown) => {
        signal.throwIfAborted()
        throw fromStorageError(error, doing)
      })
    })
  }

  async function* listPages(prefix: string, signal: AbortSignal, delimiter?: string) {
    let token: string | undefined
    do {
      const command = new ListObjectsV2Command({
        Bucket,
        Prefix: prefix,
        Delimiter: delimiter,
        ContinuationToken: token,
      })
      const page = await ask('listing objects', signal, async () => await client.send(command, { abortSignal: signal }))
      yield page
      token = page.IsTruncated ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  async function get(key: string, options: GetStreamOptions): Promise<Readable> {
    return await getStream(client, { bucket: Bucket, key }, { patience: patience('request'), ...options })
  }

  async function getText(key: string, options: { signal: AbortSignal; maxBytes: number }): Promise<Buffer> {
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of (await get(key, options)) as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > options.maxBytes) {
        throw new SyncError('archive-damaged', `${key} is larger than ${options.maxBytes} bytes.`)
      }
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  async function head(key: string, signal: AbortSignal): Promise<{ bytes: number } | undefined> {
    return await ask(`looking for ${key}`, signal, async () => {
      try {
        const found = await client.send(new HeadObjectCommand({ Bucket, Key: key }), { abortSignal: signal })
        return { bytes: found.ContentLength ?? 0 }
      } catch (error) {
        if (readStorageFault(error).status === 404) return undefined
        throw error
      }
    })
  }

  async function putText(key: string, text: string | Buffer, options: PutTextOptions): Promise<void> {
    const Body = typeof text === 'string' ? Buffer.from(text) : text
    const put = async (condition: { IfNoneMatch?: string }) => {
      const command = new PutObjectCommand({ Bucket, Key: key, Body, ContentType: options.contentType, ...condition })
      await ask(`uploading ${key}`, options.signal, async () => {
        await client.send(command, { abortSignal: options.signal })
      })
    }
    try {
      await put(options.onlyIfAbsent ? { IfNoneMatch: '*' } : {})
    } catch (error) {
      options.signal.throwIfAborted()
      const { status } = readStorageFault(toSyncError(error).cause)
      if (options.onlyIfAbsent && status === 412) {
        // A put whose answer was lost and which was sent again meets itself.
        const there = await getText(key, { signal: options.signal, maxBytes: Body.length }).catch((unread: unknown) => {
          options.signal.throwIfAborted()
          // Whether it is ours cannot be told while the store is away; an object that is gone or longer is not ours.
          if (toSyncError(unread).retryable) throw unread
        })
        if (there?.equals(Body)) return
        throw new SyncError('storage-failed', `${key} already exists.`, {
          hint: 'Archives are written once.',
          cause: error,
        })
      }
      if (!options.onlyIfAbsent || status !== 501) throw error
      await put({})
    }
    const stored = await head(key, options.signal)
    if (stored?.bytes !== Body.length) {
      throw new SyncError('storage-failed', `The object store did not keep all ${Body.length} bytes of ${key}.`, {
        retryable: true,
      })
    }
  }

  async function abortUpload(key: string, uploadId: string, signal: AbortSignal): Promise<number> {
    const command = new AbortMultipartUploadCommand({ Bucket, Key: key, UploadId: uploadId })
    return await ask(`aborting an upload of ${key}`, signal, async () => {
      try {
        await client.send(command, { abortSignal: signal })
        return 1
      } catch (error) {
        if (readStorageFault(error).status === 404) return 0
        throw error
      }
    })
  }

  async function openUploads(
    prefix: string,
    signal: AbortSignal,
  ): Promise<{ key: string; uploadId: string }[] | undefined> {
    try {
      return await Array.fromAsync(listUploads(client, { bucket: Bucket, prefix }, signal))
    } catch (error) {
      signal.throwIfAborted()
      const { status } = readStorageFault(error)
      if (status === 501 || status === 405) return undefined
      throw fromStorageError(error, 'listing open uploads')
    }
  }

  return {
    bucket: config.bucket,
    async check(signal) {
      const command = new ListObjectsV2Command({ Bucket, Prefix: config.prefix, MaxKeys: 1 })
      await ask('looking at the bucket', signal, async () => await client.send(command, { abortSignal: signal }))
    },
    probe: async (key, text, signal) => {
      const place = { bucket: Bucket, prefix: config.prefix, key }
      return await probeRights(client, place, text, ask, signal)
    },
    putStream: async (key, body, options) =>
      await putStream(client, { bucket: Bucket, key }, body, {
        patience: () => patience('upload'),
        ...options,
      }),
    putText,
    get,
    getText,
    head,
    async *list(prefix, signal, delimiter) {
      for await (const page of listPages(prefix, signal, delimiter)) {
        for (const { Key, Size } of page.Contents ?? []) {
          if (Key !== undefined) yield { key: Key, bytes: Size ?? 0 }
        }
      }
    },
    async listFolders(prefix, signal) {
      const folders: string[] = []
      for await (const page of listPages(prefix, signal, '/')) {
        for (const { Prefix } of page.CommonPrefixes ?? []) {
          if (Prefix !== undefined) folders.push(Prefix.slice(prefix.length, -1))
        }
      }
      return folders
    },
    openUploads,
    abortUpload,
    async abortUploads(prefix, known, signal) {
      let aborted = 0
      // Some stores cannot list uploads; that is why the known ones are given.
      for (const { key, uploadId } of [...known, ...((await openUploads(prefix, signal)) ?? [])]) {
        aborted += await abortUpload(key, uploadId, signal)
      }
      return aborted
    },
    async [Symbol.asyncDispose]() {
      client.destroy()
    },
  }
}

function createClient(config: StoreConfig): S3Client {
  const agent = { keepAlive: true, maxSockets: MAX_SOCKETS }
  return new S3Client({
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    region: config.region,
    forcePathStyle: config.forcePathStyle,
    credentials: { accessKeyId: config.accessKeyId, secretAccessKey: config.secretAccessKey },
    maxAttempts: ATTEMPTS,
    // The default sends CRC32 in ways that older servers answer with 400, 411 or 501.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // With it the SDK opens a new connection for every part.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: IDLE_TIMEOUT_MS,
      httpAgent: agent,
      httpsAgent: agent,
    },
  })
}
