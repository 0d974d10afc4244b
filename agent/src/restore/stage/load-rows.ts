import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { OpenedArchive } from '../../archive/archive-reader.ts'
import { copyColumns } from '../../postgres/catalog.ts'
import { quoteTable } from '../../postgres/quote.ts'
import type { DatabaseUrl } from '../../postgres/session.ts'
import type { Reporter } from '../../report/reporter.ts'
import { inSessions } from '../in-sessions.ts'
import { copyPart } from '../load-tables.ts'

export interface StageRun {
  /** Sessions at the same time. */
  connections: number
  reporter: Reporter
  signal: AbortSignal
}

/**
 * Streams the tables' parts into tables that nobody else can see yet, the biggest first, several at once, each part in a
 * transaction of its own. `place` says where a table of the archive stands. Throws as loadTables() does.
 */
export async function loadRows(
  database: DatabaseUrl,
  archive: OpenedArchive,
  tables: ArchivedTable[],
  place: (table: TableName) => TableName,
  { connections, reporter, signal }: StageRun,
): Promise<void> {
  reporter.phase('loading')
  const bytesTotal = tables.reduce((sum, table) => sum + table.bytes, 0)
  const tablesTotal = tables.length
  const partsLeft = new Map(tables.map((table) => [table, table.parts.length]))
  let [tablesDone, rows, bytes] = [0, 0, 0]
  const finish = (table: ArchivedTable): void => {
    tablesDone += 1
    reporter.progress({ table: undefined, tablesDone, tablesTotal, rows, bytes, bytesTotal })
    reporter.event('table.loaded', { table: formatTableName(table), rows: table.rows, bytes: table.bytes })
  }
  for (const table of tables) if (table.parts.length === 0) finish(table)
  const parts = tables
    .flatMap((table) => table.parts.map((part) => ({ table, part })))
    .toSorted((a, b) => b.part.bytes - a.part.bytes)
  await inSessions(database, { purpose: 'load', connections, signal }, parts, async (session, one, until) => {
    const { table, part } = one
    const name = formatTableName(table)
    const into = `${quoteTable(place(table))} ${copyColumns(table.columns)} from stdin`
    await copyPart(session, archive, { table, part, into }, until, (moreBytes, moreRows) => {
      rows += moreRows
      bytes += moreBytes
      reporter.progress({ table: name, tablesDone, tablesTotal, rows, bytes, bytesTotal })
    })
    const left = (partsLeft.get(table) ?? 1) - 1
    partsLeft.set(table, left)
    if (left === 0) finish(table)
  })
}
