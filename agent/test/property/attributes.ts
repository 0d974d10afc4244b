import { quoteIdent, quoteTable } from '../../src/postgres/quote.ts'
import { OWNER, READER, type MadeTable, type Place } from './make-place.ts'
import type { Pick } from './pick.ts'

const hasStorage = ({ kind }: MadeTable): boolean => kind !== 'range' && kind !== 'hash' && kind !== 'list'

export function addStatistics(place: Place, pick: Pick): void {
  const table = pick.of(place.tables)
  if (!table) return
  const schema = pick.of(place.schemas) ?? 'public'
  const name = quoteTable({ schema, name: place.name(schema, pick.number(99)) })
  const column = pick.of(table.columns.filter(({ ordered, generated }) => ordered && generated !== 'virtual'))?.name
  if (place.major >= 14 && (!column || pick.yes())) {
    place.later.push(`create statistics ${name} on (${table.id} % 5) from ${table.sql}`)
  } else if (column) {
    place.later.push(
      `create statistics ${name} ${pick.one('(mcv)', '(ndistinct, dependencies)', '')} on ${table.id}, ${column} from ${table.sql}`,
    )
  } else return
  if (pick.yes())
    place.later.push(`comment on statistics ${name} is 'counted'`, `alter statistics ${name} set statistics 300`)
}

export function addStorage(place: Place, pick: Pick): void {
  const table = pick.of(place.tables.filter(hasStorage))
  if (!table) return
  const index = pick.of(place.indexes.filter((one) => one.table === table))
  const settings = [
    `alter table ${table.sql} set (fillfactor = 70, autovacuum_enabled = false)`,
    `alter table ${table.sql} replica identity full`,
    `alter table ${table.sql} cluster on ${index?.name}`,
    `alter table ${table.sql} replica identity using index ${index?.name}`,
    `alter index ${index?.sql} set (fillfactor = 75)`,
    `comment on index ${index?.sql} is 'of a table'`,
  ]
  const choices = index ? settings : settings.slice(0, 2)
  const [setting = ''] = [pick.of(choices)]
  if (setting.includes('using index') && !index?.identifies) return
  place.later.push(setting)
}

export function addColumnSetting(place: Place, pick: Pick): void {
  const table = pick.of(place.tables)
  if (!table) return
  const column = pick.of(table.columns.filter(({ generated }) => !generated))
  const text = pick.of(table.columns.filter(({ type }) => type === 'text' || type === 'jsonb'))?.name
  const settings = [
    `alter column ${table.id} set statistics 200`,
    `alter column ${table.id} set (n_distinct = -0.5)`,
    ...(column ? [`alter column ${column.name} set default ${column.value.replaceAll(/\bx\b(?!\.)/g, '4')}`] : []),
    ...(text ? [`alter column ${text} set storage external`] : []),
    ...(text && place.major >= 14 ? [`alter column ${text} set compression pglz`] : []),
  ]
  const on = pick.number(4) === 0 && table.kind !== 'parent' ? (pick.of(table.parts) ?? table.sql) : table.sql
  place.later.push(`alter table ${on} ${pick.of(settings)}`)
}

export function addComment(place: Place, pick: Pick): void {
  const one = pick.of(place.readables)
  if (!one) return
  place.later.push(
    pick.yes()
      ? `comment on ${one.kind} ${one.sql} is E'it''s "said"; -- \\n\\\\'`
      : `comment on column ${one.sql}.${one.a} is $$a 'column'$$`,
  )
}

export function addGrant(place: Place, pick: Pick): void {
  const one = pick.of(place.readables)
  if (!one) return
  const grants = [
    `grant select, insert on ${one.sql} to ${READER} with grant option`,
    `grant select (${one.a}), update (${one.a}) on ${one.sql} to ${READER}`,
    `grant select on ${one.sql} to public`,
    `revoke all on ${one.sql} from current_user`,
    `grant all on ${one.sql} to ${OWNER}, ${READER}`,
  ]
  place.later.push(pick.of(grants) ?? '')
  if (pick.number(4) > 0) return
  const schema = quoteIdent(pick.of(place.schemas) ?? 'public')
  place.later.push(
    `alter default privileges in schema ${schema} grant ${pick.one('select, delete', 'all')} on tables to ${READER}`,
  )
}

/** Of a view its owner must be able to read what it reads; so nobody reads it in between. */
export function addOwner(place: Place, pick: Pick): void {
  const one = pick.of(place.readables)
  if (!one) return
  place.last.push(
    ...place.readables.map(({ sql }) => `grant select on ${sql} to ${OWNER}`),
    `alter ${one.kind} ${one.sql} owner to ${OWNER}`,
  )
}
