import type { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Clock } from '../report/clock.ts'
import { patiently } from '../typesense/patiently.ts'
import type { RefusedLine, Typesense } from '../typesense/typesense.ts'
import type { Batch } from './cut-batches.ts'
import { normaliseRefusal } from './normalise-refusal.ts'

/*
 * Batches of documents on their way into one collection. At most `inFlight` batches are in memory: the next one is asked for
 * when one was answered, so a slow search server slows PostgreSQL down. Every line is answered for, or is sent again.
 * Nothing is sent again with `create`: what a cut connection had carried may have been applied.
 */

/** One in transfer while the other one is indexed: the server has one writer for each collection. */
const IN_FLIGHT = 2
/** A mapping that does not fit: more of the same tells nothing new. */
const MAX_REFUSED = 10_000

export interface RefusedDocument {
  id: string
  code: number
  /** Without values. */
  error: string
}

export interface ImportOptions {
  action: 'create' | 'upsert'
  inFlight?: number
  signal: AbortSignal
  /** Documents that the server took. */
  onSent: (lines: number) => void
  /** Told before each wait of a batch, with how long its trouble has lasted. */
  onWaiting: (error: SyncError, waitedMs: number) => void
  onRefused: (refused: RefusedDocument[]) => void
  giveUpAfterMs?: number
  clock?: Clock
}

/**
 * Sends all batches, in any order, until the source ends or 10,000 documents were refused. Waits out what is retryable
 * (10 minutes of it at most); throws `search-full`, `search-auth`, `search-changed` (the collection is gone) and
 * `search-failed` at once. A batch that was in the air then may be applied a moment later.
 */
export async function importDocuments(
  typesense: Pick<Typesense, 'importDocuments'>,
  collection: string,
  batches: AsyncIterable<Batch>,
  options: ImportOptions,
): Promise<{ sent: number; refused: number }> {
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const counts = { sent: 0, refused: 0 }
  const source = batches[Symbol.asyncIterator]()
  const next = takeTurns(async () => await source.next())

  async function send(batch: Batch): Promise<RefusedLine[]> {
    let { action } = options
    const patience = { ...options, signal }
    return await patiently(async () => {
      const now = action
      action = 'upsert'
      return await typesense.importDocuments(collection, batch.body, { lines: batch.lines, action: now, signal })
    }, patience)
  }

  async function work(): Promise<void> {
    while (counts.refused < MAX_REFUSED) {
      const taken = await next()
      if (taken.done === true) return
      signal.throwIfAborted()
      const refused = await send(taken.value)
      const accepted = taken.value.lines - refused.length
      counts.sent += accepted
      counts.refused += refused.length
      options.onSent(accepted)
      if (refused.length > 0) options.onRefused(describe(taken.value.body, refused))
    }
  }

  let first: { error: unknown } | undefined
  const workers = Array.from({ length: options.inFlight ?? IN_FLIGHT }, async () => {
    try {
      await work()
    } catch (error) {
      first ??= { error }
      stop.abort(error)
    }
  })
  await Promise.all(workers)
  // Ends the query behind the batches when the rest of them is not wanted; after the last one it does nothing.
  if (first) await source.return?.().catch(() => undefined)
  else await source.return?.()
  options.signal.throwIfAborted()
  if (first) throw first.error
  return counts
}

/** One call after the other, whoever calls. */
function takeTurns<T>(call: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return async () => {
    const turn = last.then(call)
    last = turn.catch(() => undefined)
    return await turn
  }
}

/** Finds the refused lines in the batch: they are in order, and each begins with its id. */
function describe(body: Buffer, refused: RefusedLine[]): RefusedDocument[] {
  let line = 0
  let at = 0
  return refused.map((refusal) => {
    for (; line < refusal.line; line += 1) at = body.indexOf(10, at) + 1
    const end = body.indexOf(10, at)
    const id = readId(body.toString('utf8', at, end === -1 ? body.length : end))
    return { id, code: refusal.code, error: normaliseRefusal(refusal.error) }
  })
}

function readId(line: string): string {
  const text = /^\{"id":("(?:[^"\\]|\\.)*")/.exec(line)?.[1]
  const id: unknown = text === undefined ? '' : JSON.parse(text)
  return typeof id === 'string' ? id : ''
}
