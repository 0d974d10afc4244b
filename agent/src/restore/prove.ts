import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableProof } from '@multiboard-sync/shared/plan'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { FeedTable } from '../feed/feed.ts'
import { readChecksum } from '../postgres/checksum.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'

/** What stands in a table. */
export interface Found {
  rows: number
  /** Its checksum; absent where rows are counted only. */
  value?: string
}

/**
 * Counts the rows of every table in the target and, where the archive has one, compares its checksum; inside the
 * transaction, after everything else, so that what is committed is what was proven. Throws as compareRows().
 */
export async function proveTables(
  session: Session,
  tables: ArchivedTable[],
  reporter: Reporter,
): Promise<TableProof[]> {
  reporter.phase('proving')
  const found = new Map<string, Found>()
  for (const [index, table] of tables.entries()) {
    const name = formatTableName(table)
    reporter.progress({ table: name, tablesDone: index, tablesTotal: tables.length })
    const { columns, checksum } = table
    found.set(name, await readFound(session, table, { columns, ...(checksum && { checksum: checksum.algorithm }) }))
  }
  return compareRows(tables, found, reporter)
}

/** Counts and, where they are to be proven so, sums the rows of a table where it stands now. */
export async function readFound(
  session: Session,
  place: TableName,
  { columns, checksum }: Pick<FeedTable, 'columns' | 'checksum'>,
): Promise<Found> {
  if (checksum !== undefined) return await readChecksum(session, place, columns, undefined, checksum)
  const [row] = await session.query<{ rows: string }>(`select count(*) as rows from only ${quoteTable(place)}`)
  return { rows: Number(row?.rows) }
}

/** Answers what was found, table by table. Throws `proof-failed` with every table that is not what the archive has. */
export function compareRows(tables: ArchivedTable[], found: Map<string, Found>, reporter: Reporter): TableProof[] {
  const wrong: string[] = []
  const proof = tables.flatMap((table): TableProof[] => {
    const name = formatTableName(table)
    const { rows, checksum } = table
    const finding = findingOf(table, found.get(name))
    if (finding !== undefined) {
      wrong.push(`${name}: ${finding}`)
      return []
    }
    reporter.event('table.proven', { table: name, rows, checksum: checksum?.value ?? null })
    return [{ table: name, rows_expected: rows, rows_found: rows, checksum: checksum ? 'equal' : 'not-compared' }]
  })
  if (wrong.length === 0) return proof
  throw new SyncError('proof-failed', `${wrong.length} of ${tables.length} tables are not what the archive holds.`, {
    hint: "The target is as it was. A trigger, rule, check, type or generated column of the target's may change rows as they arrive.",
    details: wrong.toSorted(),
  })
}

function findingOf(table: ArchivedTable, found: Found | undefined): string | undefined {
  if (found === undefined) return 'it was not counted'
  if (found.rows !== table.rows) return `${table.rows} rows expected, ${found.rows} found`
  return table.checksum === undefined || found.value === table.checksum.value ? undefined : 'the checksum differs'
}
