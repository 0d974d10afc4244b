import { SyncError } from '@multiboard-sync/shared/sync-error'
import copyStreams from 'pg-copy-streams'
import { canceled } from '../postgres/canceled.ts'
import { fromPgError } from '../postgres/pg-error.ts'
import type { Session } from '../postgres/session.ts'
import { cutBatches, type Batch } from './cut-batches.ts'

export interface StreamOptions {
  signal: AbortSignal
  /** Of one batch. Default 2,000: with fewer than a thousand, or many thousands, a search server gets slower. */
  maxLines?: number
  /** Of one batch. Default 1 MB, of which a few are in memory; a document that is larger is a batch of its own. */
  maxBytes?: number
}

const defaultMaxLines = 2000
const defaultMaxBytes = 1_000_000

/**
 * The texts that a select of one text column answers, as lines, in batches. The select has no parameters; its texts are
 * JSON objects without line breaks.
 *
 * COPY writes a text as it is only in the CSV format, and there only as long as it holds neither quote nor delimiter nor
 * line break: these two control characters are always escaped in JSON (PostgreSQL documentation, COPY, "CSV Format").
 *
 * COPY waits while a batch is being worked on: memory is bounded by a few batches. Leaving the loop early, an abort and
 * every error end the session, for nothing else stops a COPY; after the last batch it can be used further. Throws SyncError
 * `documents-rejected` (a text that is NULL, too large, or no JSON), the session's errors, and `canceled`.
 */
export async function* streamDocuments(
  session: Session,
  select: string,
  options: StreamOptions,
): AsyncGenerator<Batch, void, undefined> {
  const { signal, maxLines = defaultMaxLines, maxBytes = defaultMaxBytes } = options
  const doing = `making documents in the database ${session.database}`
  if (signal.aborted) throw canceled(signal)
  const cutter = cutBatches({ maxLines, maxBytes })
  const sql = `copy (${select}) to stdout (format csv, quote E'\\x01', delimiter E'\\x02')`
  const copy = session.client.query(copyStreams.to(sql))
  // node-pg tells a stream of a cut connection of its error again, when nobody listens any more.
  copy.on('error', () => undefined)
  const stop = () => {
    session.destroy()
    copy.destroy(canceled(signal))
  }
  signal.addEventListener('abort', stop, { once: true })
  let lines = 0
  let isWhole = false
  try {
    for await (const chunk of copy as AsyncIterable<Buffer>) {
      for (const batch of cutter.push(chunk)) {
        lines += batch.lines
        yield batch
        if (signal.aborted) throw canceled(signal)
      }
    }
    // Its answer comes after the end of the COPY, which tells how many rows there were.
    await session.run('select')
    const rest = cutter.end()
    lines += rest?.lines ?? 0
    if (copy.rowCount !== lines)
      throw new SyncError('internal', `COPY told of ${copy.rowCount} rows and sent ${lines}.`)
    isWhole = true
    if (rest) yield rest
  } catch (error) {
    if (signal.aborted) throw canceled(signal)
    throw fromPgError(error, doing)
  } finally {
    signal.removeEventListener('abort', stop)
    if (!isWhole) session.destroy()
  }
}
