import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { GetObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { retry } from '@multiboard-sync/shared/retry'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { patientFor, type Patience } from './patience.ts'
import { fromStorageError, readStorageFault } from './storage-error.ts'

/** Broken connections in a row, without one byte between them, before we give up. */
const MAX_BREAKS_WITHOUT_PROGRESS = 5
const FIRST_DELAY_MS = 200
const READ_AHEAD_BYTES = 1024 * 1024
/** A body of which nothing comes for so long, although it is waited for, comes over a connection that is dead. */
const IDLE_TIMEOUT_MS = 60_000

export interface GetStreamOptions {
  signal: AbortSignal
  /** When the object has another size, SyncError `archive-damaged` is thrown before anything is read. */
  expectedBytes?: number
  /** With the first answer; a body that breaks off has MAX_BREAKS_WITHOUT_PROGRESS. */
  patience?: Patience
  /** For tests. */
  idleTimeoutMs?: number
}

interface Answer {
  body: Readable
  bytes: number
  etag: string | undefined
}

/**
 * Reads an object. Where a connection breaks, a new one goes on at that byte, if the object is still the same (ETag).
 * The returned stream is destroyed with a SyncError: storage-unreachable, storage-failed, archive-incomplete …; or
 * with the signal's reason. Destroying it ends the request at once.
 */
export async function getStream(
  client: S3Client,
  at: { bucket: string; key: string },
  options: GetStreamOptions,
): Promise<Readable> {
  const doing = `reading ${at.key}`
  const closed = new AbortController()
  const abortSignal = AbortSignal.any([options.signal, closed.signal])

  async function ask(offset: number, etag: string | undefined): Promise<Answer> {
    const range = offset === 0 ? {} : { Range: `bytes=${offset}-`, ...(etag === undefined ? {} : { IfMatch: etag }) }
    const answer = await client.send(new GetObjectCommand({ Bucket: at.bucket, Key: at.key, ...range }), {
      abortSignal,
    })
    if (!(answer.Body instanceof Readable) || answer.ContentLength === undefined) {
      throw new SyncError('storage-failed', `The object store gave no body (${doing}).`)
    }
    if (offset > 0 && !answer.ContentRange?.startsWith(`bytes ${offset}-`)) {
      answer.Body.destroy()
      throw new SyncError('storage-failed', `The object store does not answer ranged requests (${doing}).`)
    }
    return { body: answer.Body, bytes: answer.ContentLength, etag: answer.ETag }
  }

  async function* read(first: Answer): AsyncGenerator<Buffer> {
    let { body } = first
    let offset = 0
    let breaks = 0
    while (offset < first.bytes) {
      try {
        for await (const chunk of withoutStalls(body, options.idleTimeoutMs ?? IDLE_TIMEOUT_MS)) {
          breaks = 0
          offset += chunk.length
          yield chunk
        }
        if (offset >= first.bytes) return
        throw new SyncError('storage-unreachable', `The connection broke (${doing}).`, { retryable: true })
      } catch (error) {
        if (!isBreak(error, abortSignal)) throw fault(error)
        for (;;) {
          breaks += 1
          if (breaks > MAX_BREAKS_WITHOUT_PROGRESS) throw fault(error)
          await sleep(FIRST_DELAY_MS * 2 ** (breaks - 1), undefined, { signal: abortSignal }).catch(throwReason)
          const again = await ask(offset, first.etag).catch((failed: unknown) => {
            if (!isBreak(failed, abortSignal)) throw fault(failed)
          })
          if (again) {
            body = again.body
            break
          }
        }
      }
    }
  }

  function throwReason(): void {
    options.signal.throwIfAborted()
  }

  function fault(error: unknown): unknown {
    if (options.signal.aborted) return options.signal.reason
    if (readStorageFault(error).status === 412) {
      return new SyncError('archive-damaged', `${at.key} was replaced while it was read.`, { cause: error })
    }
    return fromStorageError(error, doing)
  }

  const patience = { signal: options.signal, ...(options.patience ?? patientFor.request) }
  const first = await retry(patience, async () => {
    return await ask(0, undefined).catch((error: unknown) => {
      throw fault(error)
    })
  })
  if (options.expectedBytes !== undefined && first.bytes !== options.expectedBytes) {
    first.body.destroy()
    throw new SyncError('archive-damaged', `${at.key} has ${first.bytes} bytes instead of ${options.expectedBytes}.`)
  }
  const stream = Readable.from(read(first), { objectMode: false, highWaterMark: READ_AHEAD_BYTES })
  // A generator that waits for bytes cannot be told to end; the request under it can.
  stream.once('close', () => closed.abort())
  return stream
}

/** The chunks of a body, which is destroyed when one is waited for in vain. */
async function* withoutStalls(body: Readable, timeoutMs: number): AsyncGenerator<Buffer> {
  const chunks = (body as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  const giveUp = () => {
    body.destroy(new SyncError('storage-unreachable', 'The object store went silent.', { retryable: true }))
  }
  try {
    for (;;) {
      const timer = setTimeout(giveUp, timeoutMs)
      const next = await chunks.next().finally(() => clearTimeout(timer))
      if (next.done) return
      yield next.value
    }
  } finally {
    await chunks.return?.()
  }
}

function isBreak(error: unknown, signal: AbortSignal): boolean {
  return !signal.aborted && fromStorageError(error, '').retryable
}
