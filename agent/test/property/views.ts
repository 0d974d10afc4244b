import { quoteTable } from '../../src/postgres/quote.ts'
import { READER, type Place, type Readable } from './make-place.ts'
import type { Pick } from './pick.ts'

/** Over tables, partitions, views and materialised views; some with a whole row, which only a twin can follow. */
function queryOf(place: Place, pick: Pick): string | undefined {
  const [one, two] = [pick.of(place.readables), pick.of(place.readables)]
  if (!one || !two) return undefined
  const grouped = pick.of(place.tables.filter(({ isPrimary, key }) => isPrimary && key.length === 1))
  const column = grouped && pick.of(grouped.columns)?.name
  const queries = [
    `select ${one.a} as a from ${one.sql} where ${one.a} > 1`,
    `select ${one.a} as a, count(*) as n from ${one.sql} group by 1`,
    `select o.${one.a} as a, t.${two.a} as "B" from ${one.sql} o left join ${two.sql} t on t.${two.a} = o.${one.a}`,
    `select ${one.a} as a from ${one.sql} union all select ${two.a} from ${two.sql}`,
    `select o.${one.a} as a, l.n from ${one.sql} o, lateral (select count(*) as n from ${two.sql} t where t.${two.a} < o.${one.a}) l`,
    `with recursive r (a) as (select 1 union select r.a + 1 from r where exists (select from ${one.sql} o where o.${one.a} = r.a)) select a from r`,
    `select o.${one.a} as a, o as whole from ${one.sql} o`,
    grouped
      ? `select ${grouped.id} as a${column ? `, ${column} as c` : ''} from ${grouped.sql} group by ${grouped.id}`
      : `select ${two.a} as a, row_number() over (order by ${two.a}) as n from ${two.sql}`,
  ]
  return pick.of(queries)
}

export function addView(place: Place, pick: Pick): void {
  const sql = queryOf(place, pick)
  if (sql === undefined) return
  const name = newRelation(place, pick)
  const options = ['', '', 'with (security_barrier)', 'with (security_barrier = false)']
  if (place.major >= 15) options.push('with (security_invoker = true, security_barrier = true)')
  const isSimple = /^select \S+ as a from .* where/.test(sql) && !sql.includes('group by')
  // An updatable view needs an updatable one below it: only a table is surely one.
  const checked = isSimple && place.tables.some((table) => sql.includes(` from ${table.sql} where`)) && pick.yes()
  place.later.push(`create view ${name} ${pick.of(options)} as ${sql}${checked ? ' with cascaded check option' : ''}`)
  const view: Readable = { sql: name, a: 'a', kind: 'view' }
  place.readables.push(view)
  if (pick.number(4) === 0) place.later.push(`alter view ${name} alter column a set default 5`)
  if (pick.number(4) === 0) place.later.push(`grant select on ${name} to ${READER}`)
  if (pick.number(5) === 0)
    place.later.push(`create rule ${quoteRule(pick)} as on insert to ${name} do instead nothing`)
}

export function addMatview(place: Place, pick: Pick): void {
  const sql = queryOf(place, pick)
  if (sql === undefined) return
  const name = newRelation(place, pick)
  const isEmpty = pick.number(6) === 0
  place.later.push(`create materialized view ${name} as ${sql} with ${isEmpty ? 'no ' : ''}data`)
  if (pick.yes()) place.later.push(`create index on ${name} (a)`)
  if (pick.number(4) === 0) place.later.push(`comment on column ${name}.a is 'of a view'`)
  // Nothing can be made of one that has no data.
  if (!isEmpty) place.readables.push({ sql: name, a: 'a', kind: 'materialized view' })
}

function newRelation(place: Place, pick: Pick): string {
  const schema = pick.of(place.schemas) ?? 'public'
  return quoteTable({ schema, name: place.name(schema, pick.number(99)) })
}

const quoteRule = (pick: Pick): string => pick.one('"a rule"', '"_rule"', 'rule_of_view')
