import { quoteIdent, quoteLiteral, quoteTable } from '../../src/postgres/quote.ts'
import type { Belonging } from './blueprint.ts'
import { addColumnSetting, addComment, addGrant, addOwner, addStatistics, addStorage } from './attributes.ts'
import { OWNER, READER, REFERS, type MadeColumn, type MadeTable, type Place } from './make-place.ts'
import { pickFrom, type Pick } from './pick.ts'
import { addMatview, addView } from './views.ts'

/** Adds one thing to the place, or nothing where it would not fit. */
export type Add = (place: Place, pick: Pick) => void

export const isPartitioned = ({ kind }: MadeTable): boolean => kind === 'range' || kind === 'hash' || kind === 'list'

export function newName(place: Place, pick: Pick, schema = pick.of(place.schemas) ?? 'public'): string {
  return quoteTable({ schema, name: place.name(schema, pick.number(99)) })
}

/** A name of a constraint, trigger, policy or rule: unique in its table because it is unique in a schema. */
function localName(place: Place, pick: Pick, { schema }: MadeTable): string {
  return quoteIdent(place.name(schema, pick.number(99)))
}

const orderedColumn = (table: MadeTable, pick: Pick): MadeColumn | undefined =>
  pick.of(table.columns.filter(({ ordered }) => ordered))

const addIndex: Add = (place, pick) => {
  const table = pick.of(place.tables)
  if (!table) return
  const column = orderedColumn(table, pick)?.name ?? table.id
  const text = pick.of(table.columns.filter(({ type, generated }) => type === 'text' && !generated))?.name
  const array = pick.of(
    table.columns.filter(({ type }) => type === 'int[]' || type === 'jsonb' || type === 'tsvector'),
  )?.name
  const twice = `${quoteIdent(place.types)}.twice(${table.id})`
  const definitions = [
    `(${column})`,
    `(${column} desc nulls last, ${table.id})`,
    `(${column}) where ${table.id} > 3`,
    `(${table.id}) include (${column}) with (fillfactor = 60)`,
    `((${table.id} % 7), ${column})`,
    `(${twice}) where ${twice} <> 4`,
    `using hash (${table.id})`,
    `using brin (${table.id}) with (pages_per_range = 4)`,
    `using ${text ? `btree (lower(${text}) text_pattern_ops, ${text} collate "POSIX")` : `btree (${table.id})`}`,
    array ? `using gin (${array})` : `(${table.id}, ${column})`,
  ]
  const name = place.name(table.schema, pick.number(99))
  const [definition = ''] = [pick.of(definitions)]
  // Also one that only some of the partitions have, and one that the server gives a name.
  const on = pick.number(4) === 0 ? (pick.of(table.parts) ?? table.sql) : table.sql
  place.later.push(`create index ${pick.number(4) === 0 ? '' : quoteIdent(name)} on ${on} ${definition}`)
}

const addUnique: Add = (place, pick) => {
  const table = pick.of(place.tables)
  if (!table) return
  const name = place.name(table.schema, pick.number(99))
  const sql = quoteTable({ schema: table.schema, name })
  const column = pick.of(table.columns.filter(({ distinct, ordered }) => distinct && ordered))
  if (isPartitioned(table) || !column) {
    const keys = table.kind === 'list' ? `${table.id}, kind` : table.id
    place.later.push(`create unique index ${quoteIdent(name)} on ${table.sql} (${keys})`)
    if (!isPartitioned(table)) place.indexes.push({ table, sql, name: quoteIdent(name), identifies: true })
    return
  }
  const nulls = place.major >= 15 && column.notNull ? 'nulls not distinct ' : ''
  const definitions = [
    `constraint ${quoteIdent(name)} unique ${nulls}(${column.name}) include (${table.id}) with (fillfactor = 90)`,
    `constraint ${quoteIdent(name)} unique (${column.name}, ${table.id}) deferrable`,
    `unique (${column.name})`,
  ]
  if (pick.yes()) {
    place.later.push(`alter table ${table.sql} add ${pick.of(definitions)}`)
    return
  }
  place.later.push(`create unique index ${quoteIdent(name)} on ${table.sql} (${column.name}) ${nulls}`)
  place.indexes.push({ table, sql, name: quoteIdent(name), identifies: column.notNull })
}

const addCheck: Add = (place, pick) => {
  const table = pick.of(place.tables)
  if (!table) return
  const name = localName(place, pick, table)
  const range = pick.of(table.columns.filter(({ type }) => type === 'int4range'))
  const definitions = [
    `check (${table.id} > 0)`,
    `check (${quoteIdent(place.types)}.twice(${table.id}) > ${table.id}) ${isPartitioned(table) ? '' : 'no inherit'}`,
    // Some rows are older than it, in the source as in the target.
    `check (${table.id} > 5) not valid`,
    range && !isPartitioned(table)
      ? `exclude using gist (${range.name} with &&) where (${table.id} > 1)`
      : `check (${table.id} <> 0)`,
  ]
  const [definition = ''] = [pick.of(definitions)]
  place.later.push(`alter table ${table.sql} add constraint ${name} ${definition}`)
  if (pick.yes()) place.later.push(`comment on constraint ${name} on ${table.sql} is 'says ''why'''`)
}

/** Also to itself, in circles and across schemas, and to and from tables that are not copied. */
const addForeignKey: Add = (place, pick) => {
  const parent = pick.of(place.tables.filter(({ key }) => key.length === 1))
  const child = pick.of(place.tables.filter(({ kind }) => kind !== 'typed'))
  if (!parent || !child) return
  if (parent.kind === 'unlogged' && child.kind !== 'unlogged') return
  // Before 18 a key of a partitioned table cannot be added without a check of all rows: such a job is no swap.
  if (place.major < 18 && parent.outside !== child.outside && (isPartitioned(parent) || isPartitioned(child))) return
  // A column that an inheriting table gets later stands after its own, where no dump would put it.
  if (child.kind === 'parent' && child.refers) return
  const column = child.kind === 'parent' ? REFERS : quoteIdent(`refers ${place.data.length}`)
  child.refers = true
  place.data.push(
    child.kind === 'parent' ? 'select' : `alter table ${child.sql} add column ${column} int`,
    parent.least === 0
      ? 'select'
      : `update ${child.sql} set ${column} = case when ${child.id} % 4 > 0 then 1 + ${child.id} % ${parent.least} end`,
  )
  const actions = ['', 'on delete cascade on update cascade', 'on delete set null', 'on delete restrict', 'match full']
  const times = ['', 'deferrable initially deferred', 'deferrable', 'not deferrable']
  const states = ['', '', '']
  if (!isPartitioned(child)) states.push('not valid')
  if (!isPartitioned(child) && !isPartitioned(parent) && place.major >= 18) states.push('not enforced')
  const name = localName(place, pick, child)
  place.later.push(
    `alter table ${child.sql} add constraint ${name} foreign key (${column}) references ${parent.sql} (${parent.id})
     ${pick.of(actions)} ${pick.of(times)} ${pick.of(states)}`,
  )
  if (pick.yes()) place.later.push(`comment on constraint ${name} on ${child.sql} is 'the key'`)
}

/** They raise: a load that fires one fails. */
const addTrigger: Add = (place, pick) => {
  const table = pick.of(place.tables)
  if (!table) return
  const name = localName(place, pick, table)
  const refuse = `execute function ${quoteIdent(place.types)}.refuse()`
  const plain = !isPartitioned(table) && table.kind !== 'parent'
  const definitions = [
    `after insert or update of ${table.id} or delete on ${table.sql} for each row when (pg_trigger_depth() = 0) ${refuse}`,
    `before truncate on ${table.sql} for each statement ${refuse}`,
    `before insert on ${table.sql} for each statement ${refuse}`,
    plain
      ? `after insert on ${table.sql} referencing new table as fresh for each row ${refuse}`
      : `after insert on ${table.sql} referencing new table as fresh for each statement ${refuse}`,
    `before insert on ${table.sql} for each row ${refuse}`,
  ]
  const isConstraint = pick.number(4) === 0
  place.later.push(
    isConstraint
      ? `create constraint trigger ${name} after insert or update on ${table.sql} deferrable initially deferred for each row ${refuse}`
      : `create trigger ${name} ${pick.of(definitions)}`,
  )
  const state = pick.of(['', 'disable', 'enable replica', 'enable always'])
  if (state) place.later.push(`alter table ${table.sql} ${state} trigger ${name}`)
  if (pick.yes()) place.later.push(`comment on trigger ${name} on ${table.sql} is E'two\\nlines'`)
}

const addPolicy: Add = (place, pick) => {
  const table = pick.of(place.tables)
  const other = pick.of(place.readables)
  if (!table || !other) return
  const name = localName(place, pick, table)
  const uses = [
    `${table.id} > 2`,
    `exists (select from ${other.sql} o where o.${other.a} = ${table.id})`,
    "current_user <> 'x'",
  ]
  const kind = pick.of(['permissive for all', 'restrictive for select', 'for update', 'for delete'])
  const check = kind?.includes('all') && pick.yes() ? ` with check (${uses[0]})` : ''
  place.later.push(
    `create policy ${name} on ${table.sql} as permissive to ${READER}, ${OWNER} using (${pick.of(uses)})`.replace(
      'as permissive',
      kind?.startsWith('for') ? `as permissive ${kind}` : `as ${kind}`,
    ) + check,
  )
  if (pick.yes()) place.later.push(`alter table ${table.sql} enable row level security`)
  if (pick.number(3) === 0)
    place.later.push(`alter table ${pick.of(table.parts) ?? table.sql} force row level security`)
  if (pick.number(3) === 0) place.later.push(`comment on policy ${name} on ${table.sql} is 'who may'`)
}

const addRule: Add = (place, pick) => {
  const table = pick.of(place.tables)
  const other = pick.of(place.tables)
  if (!table || !other) return
  const name = localName(place, pick, table)
  const actions = [
    'instead nothing',
    `also delete from ${other.sql} where false`,
    `also update ${other.sql} set ${other.id} = ${other.id} where false`,
  ]
  place.later.push(`create rule ${name} as on ${pick.of(['update', 'delete'])} to ${table.sql} do ${pick.of(actions)}`)
  if (pick.number(3) === 0) place.later.push(`alter table ${table.sql} disable rule ${name}`)
}

const addSequence: Add = (place, pick) => {
  const table = pick.of(place.tables.filter(({ kind }) => kind !== 'typed'))
  if (!table) return
  const name = newName(place, pick, table.schema)
  place.later.push(
    `create sequence ${name} increment 5 maxvalue 100 cycle cache 2`,
    `select nextval(${quoteLiteral(name)}::regclass)`,
  )
  if (pick.yes()) place.later.push(`alter sequence ${name} owned by ${table.sql}.${table.id}`)
  // Also of another table than the one that owns it.
  const user = pick.of(place.tables.filter(({ kind, outside }) => kind === 'plain' && outside === table.outside))
  if (user && pick.yes())
    place.later.push(
      `alter table ${user.sql} alter column ${user.id} set default nextval(${quoteLiteral(name)}::regclass)`,
    )
}

const addFunction: Add = (place, pick) => {
  const read = pick.of(place.readables)
  if (!read) return
  const name = newName(place, pick)
  const body = `select count(*) from ${read.sql} where ${read.a} > 0`
  if (place.major >= 14 && pick.yes())
    place.later.push(`create function ${name}() returns bigint stable begin atomic ${body}; end`)
  else place.later.push(`create function ${name}() returns bigint language sql stable as ${quoteLiteral(body)}`)
}

const CONSTRAINTS: Add[] = [addIndex, addIndex, addUnique, addCheck, addForeignKey, addForeignKey, addForeignKey]
const PROGRAMS: Add[] = [addTrigger, addPolicy, addRule, addSequence, addFunction]
const VIEWS: Add[] = [addView, addView, addView, addMatview, addMatview]
const ATTRIBUTES: Add[] = [addStatistics, addStorage, addColumnSetting, addComment, addGrant, addOwner]
const KINDS = [...CONSTRAINTS, ...PROGRAMS, ...VIEWS, ...ATTRIBUTES]
/** These make no difference between a source and a target. */
const HARMLESS: Add[] = [addIndex, addComment, addGrant, addStatistics, addView, addStorage]

export function addBelongings(place: Place, belongings: Belonging[]): void {
  for (const { kind, seed } of belongings) KINDS[kind % KINDS.length]?.(place, pickFrom(seed))
}

export function addExtras(place: Place, extras: Belonging[]): void {
  for (const { kind, seed } of extras) HARMLESS[kind % HARMLESS.length]?.(place, pickFrom(seed))
}
