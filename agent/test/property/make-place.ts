import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteIdent, quoteLiteral, quoteTable } from '../../src/postgres/quote.ts'
import type { Blueprint, TableBlueprint } from './blueprint.ts'
import { columnKinds, userTypes, type ColumnKind } from './columns.ts'

export interface MadeColumn extends ColumnKind {
  name: string
  notNull: boolean
}

export interface MadeTable {
  schema: string
  name: string
  idName: string
  /** Quoted, as all that follows. */
  sql: string
  id: string
  kind: TableBlueprint['kind']
  /** Columns of a unique key that foreign keys can refer to; empty where there is none. */
  key: string[]
  isPrimary: boolean
  columns: MadeColumn[]
  /** Partitions or inheriting tables. */
  parts: string[]
  /** What a job has to ask for: partitions come with their table, inheriting tables do not. */
  asked: TableName[]
  /** Rows 1 to this are there in the source and in the target. */
  least: number
  outside: boolean
  /** A foreign key has taken REFERS. */
  refers: boolean
}

/** Anything that rows can be read from; `a` is a number in it. */
export interface Readable {
  sql: string
  a: string
  /** What it is, for comments and grants; triggers and defaults go to tables and views. */
  kind: 'table' | 'view' | 'materialized view'
}

/** A database that is being made up: its objects so far, and the statements that make them. */
export interface Place {
  major: number
  schemas: string[]
  /** The schema of the user's own types and functions. */
  types: string
  tables: MadeTable[]
  readables: Readable[]
  /** Indexes that stand for themselves: on what, and whether they can identify a row of it. */
  indexes: { table: MadeTable; sql: string; name: string; identifies: boolean }[]
  /** Run one after the other, each in a transaction of its own. */
  first: string[]
  data: string[]
  later: string[]
  last: string[]
  /** A name that is free in the schema, like the one that is asked for. */
  name: (schema: string, like: number) => string
}

const SCHEMAS = ['public', 'app', 'Other "Schema"', 'x.y', 'é'.repeat(31), "it's; --"]
const NAMES = [
  'plain',
  'Mixed Case',
  'with "quotes"',
  'dot.ted',
  "it's",
  'ünïcode',
  'n'.repeat(63),
  'select',
  'semi;colon -- not a comment',
  'back\\slash',
  '$$dollar$$',
  'user',
]
const NAME_MAX_BYTES = 63
/** What tables with inheriting ones have for a foreign key. */
export const REFERS = '"refers"'
export const READER = 'property_reader'
export const OWNER = 'property_owner'

/** The tables of a blueprint, and the statements that make and fill them. `salt` is 0 for the source, 1 for the target. */
export function makePlace(blueprint: Blueprint, major: number, salt: 0 | 1): Place {
  const schemas = blueprint.schemas.map((n) => SCHEMAS[n % SCHEMAS.length] ?? 'public')
  const [types = 'public'] = schemas
  const taken = new Set<string>()
  const name = (schema: string, like: number): string => {
    const base = NAMES[like % NAMES.length] ?? 'plain'
    for (let n = 0; ; n += 1) {
      const free = n === 0 ? base : cut(`${n} ${base}`)
      const key = JSON.stringify([schema, free])
      if (taken.has(key)) continue
      taken.add(key)
      return free
    }
  }
  const place: Place = {
    major,
    schemas,
    types,
    name,
    tables: [],
    readables: [],
    indexes: [],
    first: [],
    data: [],
    later: [],
    last: [],
  }
  const all = schemas.map(quoteIdent).join(', ')
  place.first.push(
    ...schemas.filter((schema) => schema !== 'public').map((schema) => `create schema ${quoteIdent(schema)}`),
    `grant usage on schema ${all} to ${OWNER}, ${READER}`,
    userTypes(quoteIdent(types)),
    programs(quoteIdent(types)),
  )
  for (const table of blueprint.tables) addTable(place, table, salt)
  return place
}

function cut(name: string): string {
  let short = name
  while (Buffer.byteLength(short) > NAME_MAX_BYTES) short = short.slice(0, -1)
  return short
}

const programs = (types: string): string => `
create sequence ${types}.shared_number;
create function ${types}.refuse() returns trigger language plpgsql as $$ begin raise exception 'nobody writes here'; end $$;
create function ${types}.twice(int) returns int language sql immutable as 'select $1 * 2';`

function addTable(place: Place, made: TableBlueprint, salt: 0 | 1): void {
  const schema = place.schemas[made.schema % place.schemas.length] ?? 'public'
  const name = place.name(schema, made.name)
  const isTyped = made.kind === 'typed'
  const columns = isTyped ? [] : makeColumns(place, made)
  const idName = made.name % 3 === 0 ? 'Id "1"' : 'id'
  const id = quoteIdent(idName)
  const table: MadeTable = {
    schema,
    name,
    sql: quoteTable({ schema, name }),
    id,
    idName,
    kind: made.kind,
    columns,
    parts: [],
    asked: [{ schema, name }],
    key: [],
    isPrimary: false,
    refers: false,
    least: Math.min(...made.rows),
    outside: made.outside,
  }
  const idColumn = `${id} ${typeOfId(place, made)} not null`
  const inline = table.columns.filter((_, n) => !made.columns[n]?.later)
  const definitions = [idColumn, ...inline.map((column) => columnSql(column, id))]
  if (made.kind === 'parent') definitions.push(`${REFERS} int`)
  if (made.kind === 'list') definitions.push('kind text not null')
  const key = keySql(table, made)
  if (isTyped) {
    const type = quoteTable({ schema, name: place.name(schema, made.name) })
    place.first.push(`create type ${type} as (${id} int, note text)`, `create table ${table.sql} of ${type}`)
  } else {
    const unlogged = made.kind === 'unlogged' ? 'unlogged ' : ''
    const by = { range: `(${id})`, hash: `(${id})`, list: '(kind)' }[made.kind as string]
    const partitioned = by === undefined ? '' : ` partition by ${made.kind} ${by}`
    place.first.push(`create ${unlogged}table ${table.sql} (${definitions.join(', ')})${partitioned}`)
  }
  // What an inheriting table gets later stands after its own columns, where no dump would put it.
  const steps = [() => addParts(place, table, definitions), () => addLaterColumns(place, table, made)]
  for (const step of made.kind === 'parent' ? steps.toReversed() : steps) step()
  if (key !== undefined) place.first.push(`alter table ${table.sql} add ${key}`)
  place.tables.push(table)
  place.readables.push({ sql: table.sql, a: id, kind: 'table' })
  for (const part of table.parts) place.readables.push({ sql: part, a: id, kind: 'table' })
  addRows(place, table, made, salt)
}

function typeOfId({ types }: Place, { kind, columns }: TableBlueprint): string {
  if (kind === 'serial') return 'serial'
  if (kind === 'shared') return `int default nextval(${quoteLiteral(`${quoteIdent(types)}.shared_number`)}::regclass)`
  if (kind === 'identity') return `int generated ${columns.length % 2 === 0 ? 'always' : 'by default'} as identity`
  return 'int'
}

function makeColumns(place: Place, made: TableBlueprint): MadeColumn[] {
  const kinds = columnKinds(quoteIdent(place.types), place.major)
  const used = new Set<string>()
  return made.columns.map(({ type, name, notNull }, n) => {
    const kind = kinds[type % kinds.length] ?? { type: 'int', value: 'x', ordered: true }
    const base = NAMES[name % NAMES.length] ?? 'c'
    const free = used.has(base) ? cut(`${n} ${base}`) : base
    used.add(free)
    return { ...kind, name: quoteIdent(free), notNull: notNull && !kind.generated }
  })
}

function columnSql(column: MadeColumn, id: string): string {
  if (column.generated) {
    const value = column.value.replaceAll('ID', id)
    return `${column.name} ${column.type} generated always as (${value}) ${column.generated}`
  }
  return `${column.name} ${column.type}${column.notNull ? ' not null' : ''}`
}

function keySql(table: MadeTable, { kind, key }: TableBlueprint): string | undefined {
  if (key === 'none') return undefined
  const columns = kind === 'list' ? [table.id, 'kind'] : [table.id]
  if (key === 'deferrable') return `primary key (${columns.join(', ')}) deferrable initially deferred`
  table.key = columns
  table.isPrimary = key === 'primary'
  return `${key === 'primary' ? 'primary key' : 'unique'} (${columns.join(', ')})`
}

/** Partitions (one attached with other columns before, one of them with partitions) or inheriting tables. */
function addParts(place: Place, table: MadeTable, definitions: string[]): void {
  const part = (): string => {
    const own = { schema: table.schema, name: place.name(table.schema, table.columns.length) }
    const sql = quoteTable(own)
    table.parts.push(sql)
    if (table.kind === 'parent') table.asked.push(own)
    return sql
  }
  const { sql, id } = table
  if (table.kind === 'parent') {
    const child = part()
    place.first.push(`create table ${child} (extra text default 'of the child') inherits (${sql})`)
    if (table.columns.length % 2 === 1) place.first.push(`create table ${part()} () inherits (${child})`)
  }
  if (table.kind === 'hash') {
    place.first.push(`create table ${part()} partition of ${sql} for values with (modulus 2, remainder 0)`)
    place.first.push(`create table ${part()} partition of ${sql} for values with (modulus 2, remainder 1)`)
  }
  if (table.kind === 'list') {
    const own = part()
    place.first.push(
      `create table ${own} (gone int, ${definitions.toReversed().join(', ')})`,
      `alter table ${own} drop column gone`,
      `alter table ${sql} attach partition ${own} for values in ('a', 'c')`,
      `create table ${part()} partition of ${sql} default`,
    )
  }
  if (table.kind === 'range') {
    place.first.push(`create table ${part()} partition of ${sql} for values from (minvalue) to (10)`)
    const rest = part()
    place.first.push(
      `create table ${rest} partition of ${sql} for values from (10) to (maxvalue) partition by hash (${id})`,
      `create table ${part()} partition of ${rest} for values with (modulus 1, remainder 0)`,
    )
  }
}

function addLaterColumns(place: Place, table: MadeTable, made: TableBlueprint): void {
  const later = table.columns.filter((_, n) => made.columns[n]?.later)
  if (later.length === 0) return
  place.first.push(
    `alter table ${table.sql} add column gone int default 3`,
    ...later.map((column) => `alter table ${table.sql} add column ${columnSql(column, table.id)}`),
    `alter table ${table.sql} drop column gone`,
  )
}

/** The target's every third row differs. Inheriting tables have rows of their own, from 1001. */
function addRows(place: Place, table: MadeTable, made: TableBlueprint, salt: 0 | 1): void {
  const stored = table.columns.filter(({ generated }) => !generated)
  const names = [table.id, ...stored.map(({ name }) => name)]
  const values = [
    'i',
    ...stored.map(({ value, notNull }) => (notNull ? value : `case when x % 5 <> 2 then ${value} end`)),
  ]
  if (table.kind === 'list') {
    names.push('kind')
    values.push(`(array['a', 'b', 'c'])[1 + x % 3]`)
  }
  if (table.kind === 'typed') {
    names.push('note')
    values.push(`'note ' || x`)
  }
  const fill = (into: string, from: number, rows: number): string =>
    `insert into ${into} (${names.join(', ')}) overriding system value
     select ${values.join(', ')} from (select i, i + case i % 3 when 0 then ${salt} * 1000 else 0 end as x
       from generate_series(${from}, ${from + rows - 1}) i) r`
  const rows = made.rows[salt]
  place.data.push(fill(table.sql, 1, rows))
  if (table.kind === 'parent')
    for (const [n, part] of table.parts.entries()) place.data.push(fill(part, 1001 + n * 100, rows))
  if (table.kind === 'serial' || table.kind === 'identity') {
    const sequence = `pg_get_serial_sequence(${quoteLiteral(table.sql)}, ${quoteLiteral(table.idName)})`
    place.data.push(`select setval(${sequence}, ${100 + salt * 7}, ${rows % 2 === 0})`)
  }
  if (table.kind === 'shared')
    place.data.push(
      `select nextval(${quoteLiteral(`${quoteIdent(place.types)}.shared_number`)}::regclass) from generate_series(1, ${rows})`,
    )
}
