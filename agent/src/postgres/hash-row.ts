import type { Column } from '@multiboard-sync/shared/manifest'
import { quoteIdent } from './quote.ts'

/*
 * The expression of `chain-typed-2`: one row as an int8, equal on PostgreSQL 13 to 18. Each column's value is hashed with
 * the hash so far as its seed, so that neither columns nor rows can change places unseen. Types whose values PostgreSQL
 * hashes or sends whole go so; all others as the text that COPY writes. Half of the cost of proving by text was the text.
 *
 * Not taken, because values would get lost: hashint8extended (folds to 32 bits, and so do the hashes of times), the hashes
 * of numeric and jsonb (1.0 is 1.00), float8 (-0 is 0), citext and record; the sent form of floats (NaN has many) and of
 * arrays (a flag says "may hold nulls", and element types have numbers of their own in each database).
 */

/** The hash of a value (SQL, never null) under a seed. */
type Mix = (value: string, seed: string) => string

const mixText: Mix = (value, seed) => `hashtextextended(${value} collate "C", ${seed})`
/** There is no function that hashes a bytea below PostgreSQL 18. The array has one element: more would be joined linearly. */
const mixBytes: Mix = (value, seed) => `hash_array_extended(array[${value}], ${seed})`
const mixInt8: Mix = (value, seed) => `hashint4extended(0, ${value} # ${seed})`

const none = `''`
const nil = '00000000-0000-0000-0000-000000000000'

/** By the type's name without its modifier. All are PostgreSQL's own: search_path is empty, others have a schema. */
const mixes: Record<string, (name: string, seed: string) => string> = {
  smallint: (name, seed) => `hashint2extended(coalesce(${name}, 0::int2), ${seed})`,
  integer: (name, seed) => `hashint4extended(coalesce(${name}, 0), ${seed})`,
  bigint: (name, seed) => mixInt8(`coalesce(${name}, 0)`, seed),
  text: (name, seed) => mixText(`coalesce(${name}, ${none})`, seed),
  'character varying': (name, seed) => mixText(`coalesce(${name}, ${none})`, seed),
  bytea: (name, seed) => mixBytes(`coalesce(${name}, ${none})`, seed),
  uuid: (name, seed) => `uuid_hash_extended(coalesce(${name}, '${nil}'), ${seed})`,
  'timestamp with time zone': (name, seed) => mixBytes(`coalesce(timestamptz_send(${name}), ${none})`, seed),
  'timestamp without time zone': (name, seed) => mixBytes(`coalesce(timestamp_send(${name}), ${none})`, seed),
}

/** `columns` are those to take, in their order. */
export function hashRow(columns: Column[]): string {
  return columns.reduce((seed, column) => {
    const name = quoteIdent(column.name)
    const type = column.type.replace(/\(\d+\)/, '')
    const mix = Object.hasOwn(mixes, type) ? mixes[type] : undefined
    return mix ? mix(name, seed) : mixText(`coalesce(${copyText(column)}, ${none})`, seed)
  }, hashNulls(columns))
}

/** What COPY writes, which a cast to text may not be: of these two types, or of a type with a cast of its own. */
function copyText(column: Column): string {
  const name = quoteIdent(column.name)
  if (column.type === 'xml') return `xml_out(${name})::text`
  if (/^(character|bpchar)\b(?!.*\[\])/.test(column.type)) return `bpcharout(${name})::text`
  return column.type.includes('.') ? `concat(${name})` : `${name}::text`
}

/** One int8 has room for so many columns, and stays positive. */
const columnsPerMask = 62

/** The null of a composite's fields counts as its own here, and not in its text: together they tell them apart. */
function hashNulls(columns: Column[]): string {
  let seed = 'hashint4extended(0, 0)'
  for (let at = 0; at < columns.length; at += columnsPerMask) {
    const bits = columns.slice(at, at + columnsPerMask).map(({ name }, n) => {
      return `case when ${quoteIdent(name)} is null then ${2n ** BigInt(n)}::int8 else 0::int8 end`
    })
    seed = mixInt8(`(${bits.join(' | ')})`, seed)
  }
  return seed
}
