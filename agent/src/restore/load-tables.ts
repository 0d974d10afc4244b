import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { Feed } from '../feed/feed.ts'
import type { Lanes } from '../lanes/lanes.ts'
import { copyColumns } from '../postgres/catalog.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'
import { copyPiece } from './copy-piece.ts'
import { countLoad, inTables } from './load-progress.ts'

/**
 * Streams the tables' pieces into the target, inside the caller's transaction, one after the other on its connection; a
 * piece that fails fails the transaction. FREEZE is allowed because every table was created or truncated in this
 * transaction, and keeps a REPEATABLE READ reader that is older than the commit from seeing an empty table (PostgreSQL
 * docs, COPY and TRUNCATE). Throws as copyPiece() does.
 */
export async function loadTables(session: Session, feed: Feed, lanes: Lanes, reporter: Reporter): Promise<void> {
  const progress = countLoad(feed, reporter)
  for (const [table, pieces] of inTables(feed)) {
    const into = `${quoteTable(table)} ${copyColumns(table.columns)} from stdin with (freeze)`
    for (const piece of pieces) {
      const task = { kind: 'copy', name: formatTableName(table), urgency: Number.POSITIVE_INFINITY } as const
      const options = { signal: lanes.signal, onBytes: progress.attempt(piece) }
      const rows = await lanes.run(task, async (lane) => await copyPiece(session, feed, { piece, into }, lane, options))
      progress.ended(piece, rows)
    }
  }
}
