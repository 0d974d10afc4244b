import type { Column } from '@multiboard-sync/shared/manifest'
import { storedColumns } from './catalog.ts'
import { quoteIdent, quoteTable } from './quote.ts'
import type { Session } from './session.ts'

/*
 * A table's checksum: independent of the order of rows, equal on PostgreSQL 13 to 18 under a session's settings.
 *
 * Each row: hashtextextended() of the text of a bitmap of nulls, chained through hashtextextended() of each column's text
 * (null as ''), in the order of the columns given, generated ones left out. The sum over all rows is a numeric. COLLATE
 * "C", because under a nondeterministic collation 'A' and 'a' have the same hash. The archive names this
 * CHECKSUM_ALGORITHM; a change of the expression needs another name.
 */

export interface Checksum {
  rows: number
  /** A decimal number as text; beyond what a JavaScript number holds. */
  value: string
}

/**
 * Counts and sums the table's own rows (`only`). `where` is SQL of the caller's own making. Answers one row: `rows` and
 * `value`, both as text.
 */
function checksumSql(table: { schema: string; name: string }, columns: Column[], where?: string): string {
  const stored = storedColumns(columns)
  const condition = where === undefined ? '' : ` where ${where}`
  return `select count(*)::text as rows, coalesce(sum(${chain(stored)}), 0)::text as value from only ${quoteTable(table)}${condition}`
}

export async function readChecksum(
  session: Session,
  table: { schema: string; name: string },
  columns: Column[],
  where?: string,
): Promise<Checksum> {
  const [row] = await session.query<{ rows: string; value: string }>(checksumSql(table, columns, where))
  if (row === undefined) throw new Error('an aggregate answers one row')
  return { rows: Number(row.rows), value: row.value }
}

function chain(columns: Column[]): string {
  const names = columns.map((column) => quoteIdent(column.name))
  return columns.reduce(
    (seed, column) => `hashtextextended(coalesce(${textOf(column)}, '') collate "C", ${seed})`,
    `hashtextextended(${nullBitmap(names)} collate "C", 0)`,
  )
}

/** A cast of xml to text keeps the XML declaration, which COPY does not write (PostgreSQL docs, "XML Type"). */
function textOf(column: Column): string {
  const name = quoteIdent(column.name)
  return column.type === 'xml' ? `xml_out(${name})::text` : `${name}::text`
}

/** A function takes 100 arguments; a table may have 1,600 columns. */
const maxArguments = 100

function nullBitmap(names: string[]): string {
  const bits = names.map((name) => `(${name} is null)::int`)
  const pieces: string[] = []
  for (let at = 0; at < bits.length; at += maxArguments) {
    pieces.push(`concat(${bits.slice(at, at + maxArguments).join(', ')})`)
  }
  return pieces.length === 0 ? `''` : `(${pieces.join(' || ')})`
}
