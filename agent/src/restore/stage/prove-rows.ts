import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableProof } from '@multiboard-sync/shared/plan'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { DatabaseUrl } from '../../postgres/session.ts'
import { inSessions } from '../in-sessions.ts'
import { proveTable } from '../prove.ts'
import type { StageRun } from './load-rows.ts'

/**
 * Counts the rows of every table where `place` says that it stands and compares its checksum where the archive has one,
 * the biggest first, several at once. Answers what was found, in the order given. Throws `proof-failed` with every table
 * that differs.
 */
export async function proveRows(
  database: DatabaseUrl,
  tables: ArchivedTable[],
  place: (table: TableName) => TableName,
  { connections, reporter, signal }: StageRun,
): Promise<TableProof[]> {
  reporter.phase('proving')
  const wrong: string[] = []
  const tablesTotal = tables.length
  let tablesDone = 0
  const biggestFirst = tables.toSorted((a, b) => b.bytes - a.bytes)
  await inSessions(database, { purpose: 'proof', connections, signal }, biggestFirst, async (session, table) => {
    const name = formatTableName(table)
    const finding = await proveTable(session, { ...table, ...place(table) })
    tablesDone += 1
    reporter.progress({ table: name, tablesDone, tablesTotal })
    if (finding !== undefined) wrong.push(`${name}: ${finding}`)
    else reporter.event('table.proven', { table: name, rows: table.rows, checksum: table.checksum?.value ?? null })
  })
  if (wrong.length > 0) {
    throw new SyncError('proof-failed', `${wrong.length} of ${tablesTotal} tables are not what the archive holds.`, {
      hint: 'The target was not changed. A check, type or generated column of the target may change rows as they arrive.',
      details: wrong.toSorted(),
    })
  }
  return tables.map((table) => ({
    table: formatTableName(table),
    rows_expected: table.rows,
    rows_found: table.rows,
    checksum: table.checksum ? 'equal' : 'not-compared',
  }))
}
