import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { MergeKey } from '../../postgres/merge-keys.ts'
import type { MatchColumn } from '../../postgres/merge-tables.ts'
import { quoteIdent, quoteTable } from '../../postgres/quote.ts'

/** Two tables of one shape: `live` becomes what `stage` is. Live rows are called l, staged ones s, referring ones c. */
export interface Pair {
  oid: number
  /** Its own OID and those of its partitioned ancestors. */
  line: Set<number>
  live: TableName
  stage: TableName
  key: MatchColumn[]
  /** Names of the columns that both have. */
  columns: string[]
  /** Names of columns that the live table alone has, without generated ones. */
  own: string[]
  /** Columns that no UPDATE may set: GENERATED ALWAYS AS IDENTITY. */
  fixed: string[]
}

const live = (pair: Pair): string => `only ${quoteTable(pair.live)}`
const list = (names: string[], of?: string): string =>
  names.map((name) => (of === undefined ? quoteIdent(name) : `${of}.${quoteIdent(name)}`)).join(', ')

function matches({ key }: Pair, row: string): string {
  return key.map(({ name, operator }) => `${row}.${quoteIdent(name)} ${operator} s.${quoteIdent(name)}`).join(' and ')
}

function isMissing(pair: Pair, row = 'l'): string {
  return `not exists (select from ${quoteTable(pair.stage)} s where ${matches(pair, row)})`
}

/** What can differ between two rows of one key. */
function comparable({ key, columns }: Pair): string[] {
  const same = new Set(key.filter(({ isExact }) => isExact).map(({ name }) => name))
  return columns.filter((name) => !same.has(name))
}

/**
 * Byte by byte (PostgreSQL docs, "Composite Type Comparison"): also for types without equality, and 1.0 is not 1.00. Cast,
 * because two bare ROW()s would be compared column by column.
 */
function compared(pair: Pair, operator: '*=' | '*<>'): string | undefined {
  const names = comparable(pair)
  if (names.length === 0) return undefined
  return `row(${list(names, 'l')})::record operator(pg_catalog.${operator}) row(${list(names, 's')})::record`
}

/** The table that a key belongs to, whose rows are c. */
function referring({ table, tableKind }: MergeKey): string {
  return `${tableKind === 'p' ? '' : 'only '}${quoteTable(table)} c`
}

/** Whether c refers to the live row l. */
function refers({ columns }: MergeKey): string {
  return columns
    .map(
      ({ name, referenced, operator, collation }) =>
        `l.${quoteIdent(referenced)} ${operator} c.${quoteIdent(name)}${collation}`,
    )
    .join(' and ')
}

/** Rows that the archive lacks and to which no row refers. */
export function deleteUnusedSql(pair: Pair, keys: MergeKey[]): string {
  const unused = keys.map((key) => ` and not exists (select from ${referring(key)} where ${refers(key)})`)
  return `delete from ${live(pair)} l where ${isMissing(pair)}${unused.join('')}`
}

export function deleteMissingSql(pair: Pair): string {
  return `delete from ${live(pair)} l where ${isMissing(pair)}`
}

export function countMissingSql(pair: Pair): string {
  return `select count(*)::float8 as rows from ${live(pair)} l where ${isMissing(pair)}`
}

/** Whether a row that stays refers to one that goes. */
export function countReferringSql(pair: Pair, key: MergeKey): string {
  // In one statement with the row that it refers to.
  const goesToo = pair.line.has(key.tableOid) ? ` and not (c.tableoid = ${pair.oid} and ${isMissing(pair, 'c')})` : ''
  return `select count(*)::float8 as rows from (
    select from ${live(pair)} l join ${referring(key)} on ${refers(key)}
    where ${isMissing(pair)}${goesToo} limit 1) as found`
}

/** Undefined when a row that stays cannot differ. */
export function updateSql(pair: Pair): string | undefined {
  const differs = compared(pair, '*<>')
  const fixed = new Set(pair.fixed)
  const set = comparable(pair).filter((name) => !fixed.has(name))
  if (differs === undefined || set.length === 0) return undefined
  const assigned = set.map((name) => `${quoteIdent(name)} = s.${quoteIdent(name)}`).join(', ')
  return `update ${live(pair)} l set ${assigned} from ${quoteTable(pair.stage)} s where ${matches(pair, 'l')} and ${differs}`
}

export function insertSql(pair: Pair): string {
  return `insert into ${quoteTable(pair.live)} (${list(pair.columns)}) overriding system value
    select ${list(pair.columns, 's')} from ${quoteTable(pair.stage)} s
    where not exists (select from ${live(pair)} l where ${matches(pair, 'l')})`
}

/** Rows whose key both have and that differ; `into` keeps them as they are to become, with the live table's own columns. */
export function keepChangedSql(pair: Pair, into: TableName): string {
  const own = pair.own.map((name) => `, l.${quoteIdent(name)}`).join('')
  return `create unlogged table ${quoteTable(into)} as select ${list(pair.columns, 's')}${own}
    from ${live(pair)} l join ${quoteTable(pair.stage)} s on ${matches(pair, 'l')} where ${compared(pair, '*<>') ?? 'false'}`
}

/** Rows that the archive lacks or has otherwise. */
export function deleteChangedSql(pair: Pair): string {
  const same = compared(pair, '*=')
  const also = same === undefined ? '' : ` and ${same}`
  return `delete from ${live(pair)} l where not exists (select from ${quoteTable(pair.stage)} s where ${matches(pair, 'l')}${also})`
}

export function insertKeptSql(pair: Pair, from: TableName): string {
  const names = list([...pair.columns, ...pair.own])
  return `insert into ${quoteTable(pair.live)} (${names}) overriding system value select ${names} from ${quoteTable(from)}`
}
