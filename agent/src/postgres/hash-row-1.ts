import type { Column } from '@multiboard-sync/shared/manifest'
import { quoteIdent } from './quote.ts'

/**
 * The expression of `chain-hashtextextended-1`, for archives that carry it: hashtextextended() of the text of a bitmap of
 * nulls, chained through hashtextextended() of each column's text (null as ''). Never changes.
 */
export function hashRow1(columns: Column[]): string {
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
