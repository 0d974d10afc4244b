import { CHECKSUM_ALGORITHM, type ChecksumAlgorithm, type Column } from '@multiboard-sync/shared/manifest'
import { storedColumns } from './catalog.ts'
import { hashRow1 } from './hash-row-1.ts'
import { hashRow } from './hash-row.ts'
import { quoteTable } from './quote.ts'
import type { Session } from './session.ts'

/*
 * A table's checksum: independent of the order of rows, equal on PostgreSQL 13 to 18 under a session's settings.
 *
 * Each row is hashed to an int8, its columns in the order given, generated ones left out. The sum over all rows is a
 * numeric, so checksums of disjoint slices add up. The archive names the algorithm; a change of an expression needs
 * another name, and the old one stays, for the archives that carry it.
 */

export interface Checksum {
  rows: number
  /** A decimal number as text; beyond what a JavaScript number holds. */
  value: string
}

const expressions: Record<ChecksumAlgorithm, (columns: Column[]) => string> = {
  'chain-hashtextextended-1': hashRow1,
  'chain-typed-2': hashRow,
}

/** Counts and sums the table's own rows (`only`). `where` is SQL of the caller's own making. */
export async function readChecksum(
  session: Session,
  table: { schema: string; name: string },
  columns: Column[],
  where?: string,
  algorithm: ChecksumAlgorithm = CHECKSUM_ALGORITHM,
): Promise<Checksum> {
  const hash = expressions[algorithm](storedColumns(columns))
  const condition = where === undefined ? '' : ` where ${where}`
  const [row] = await session.query<{ rows: string; value: string }>(
    `select count(*)::text as rows, coalesce(sum(${hash}), 0)::text as value from only ${quoteTable(table)}${condition}`,
  )
  if (row === undefined) throw new Error('an aggregate answers one row')
  return { rows: Number(row.rows), value: row.value }
}
