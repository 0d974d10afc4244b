import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableProof } from '@multiboard-sync/shared/plan'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { readChecksum } from '../postgres/checksum.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'

/**
 * Counts the rows of every table in the target and, where the archive has one, compares its checksum; inside the
 * transaction, after everything else, so that what is committed is what was proven. Answers what was found, table by
 * table. Throws `proof-failed` with every table that differs.
 */
export async function proveTables(
  session: Session,
  tables: ArchivedTable[],
  reporter: Reporter,
): Promise<TableProof[]> {
  reporter.phase('proving')
  const wrong: string[] = []
  const proof: TableProof[] = []
  for (const [index, table] of tables.entries()) {
    const name = formatTableName(table)
    reporter.progress({ table: name, tablesDone: index, tablesTotal: tables.length })
    const finding = await proveTable(session, table)
    if (finding) wrong.push(`${name}: ${finding}`)
    else {
      const { rows, checksum } = table
      proof.push({ table: name, rows_expected: rows, rows_found: rows, checksum: checksum ? 'equal' : 'not-compared' })
      reporter.event('table.proven', { table: name, rows, checksum: checksum?.value ?? null })
    }
  }
  if (wrong.length === 0) return proof
  throw new SyncError('proof-failed', `${wrong.length} of ${tables.length} tables are not what the archive holds.`, {
    hint: 'Everything was rolled back. A trigger or rule of the target may change rows as they arrive.',
    details: wrong,
  })
}

/** What is wrong with the rows of a table; undefined when nothing is. */
export async function proveTable(session: Session, table: ArchivedTable): Promise<string | undefined> {
  if (table.checksum) {
    const found = await readChecksum(session, table, table.columns)
    if (found.rows !== table.rows) return `${table.rows} rows expected, ${found.rows} found`
    return found.value === table.checksum.value ? undefined : 'the checksum differs'
  }
  const [row] = await session.query<{ rows: string }>(`select count(*) as rows from only ${quoteTable(table)}`)
  return Number(row?.rows) === table.rows ? undefined : `${table.rows} rows expected, ${row?.rows} found`
}
