import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { planQuery } from './prepare-query.ts'
import { preparedRead, type PreparedRead } from './query-all.ts'
import { quoteLiteral } from './quote.ts'
import { notBookkeeping, relationContents, schemaContents } from './schema-contents.ts'
import type { Session } from './session.ts'

/*
 * Who points at what, as text: what a fingerprint of definitions cannot tell, because a view over another table of the same
 * name has the same text as before it was moved and another meaning after.
 *
 * Promises: a hash of the names at both ends of every row of pg_depend, and of its kind; the same after everything was made
 * again. Left out: what lies in our own and in temporary schemas, TOAST, and the bookkeeping of constraints, whose names
 * the server makes up. Pointing INTO those schemas is not left out. Sees the session's own uncommitted changes.
 */

/** Hex and the count of lines. */
export type DependencyPrint = PreparedRead<string>

/** Planned now, so that reading under locks takes the time of the reading alone. */
export async function prepareDependencyPrint(session: Session, within?: TableName[]): Promise<DependencyPrint> {
  const lines = within === undefined ? linesSql : linesWithinSql(within)
  const execute = await planQuery(session, `${lines} ${hashed}`)
  return preparedRead(session, [execute], ([row]) => {
    if (row === undefined) throw new Error('an aggregate answers one row')
    return (row as { print: string }).print
  })
}

/** The lines behind the hash, sorted by bytes: to name differences. */
export async function readDependencyLines(session: Session, within?: TableName[]): Promise<string[]> {
  const lines = within === undefined ? linesSql : linesWithinSql(within)
  const rows = await session.query<{ line: string }>(`${lines} select line from lines order by line collate "C"`)
  return rows.map(({ line }) => line)
}

const described = `
lines as (
  select distinct pg_catalog.concat_ws(' ', pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid), d.deptype,
           pg_catalog.pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)) as line
  from rows d
)`

/** Objects below 16384 came with the server; what they point at cannot change. */
const linesSql = `
with ${schemaContents('apart', `n.nspname ~ '^(multiboard_sync|pg_temp_|pg_toast)'`)},
rows as materialized (
  select d.* from pg_catalog.pg_depend d
  where d.objid >= 16384 and (d.classid, d.objid) not in (select classid, objid from apart) and ${notBookkeeping}
),${described}`

/**
 * The lines with one of these relations, or what belongs to it (its indexes, owned sequences, types, columns, constraints,
 * defaults, triggers, rules, policies, statistics) at either end. By name, so that those that take their place are meant after a move. Found by the indexes
 * of pg_depend, so that it costs what is asked for, whatever else is in the database.
 */
function linesWithinSql(relations: TableName[]): string {
  const names = JSON.stringify(relations.map(({ schema, name }) => [schema, name]))
  return `
with ${relationContents(`${quoteLiteral(names)}::jsonb`)},
apart as materialized (select n.oid from pg_catalog.pg_namespace n where n.nspname ~ '^(multiboard_sync|pg_temp_|pg_toast)'),
rows as materialized (
  select d.* from objects o cross join lateral (
    select * from pg_catalog.pg_depend d where d.classid = o.classid and d.objid = o.objid offset 0) d
  where d.objid >= 16384 and ${notBookkeeping}
  union all
  select d.* from objects o cross join lateral (
    select * from pg_catalog.pg_depend d where d.refclassid = o.classid and d.refobjid = o.objid offset 0) d
  where d.objid >= 16384 and (d.classid, d.objid) not in (select classid, objid from objects) and ${notBookkeeping}
    and coalesce(${namespaceOf}, 0) <> all (array(select oid from apart))
),${described}`
}

/** Of the dependent object: NULL where it lies in none. */
const namespaceOf = `case d.classid
  ${[
    ['pg_class', 'relnamespace'],
    ['pg_type', 'typnamespace'],
    ['pg_proc', 'pronamespace'],
    ['pg_constraint', 'connamespace'],
    ['pg_statistic_ext', 'stxnamespace'],
  ]
    .map(
      ([catalog, column]) =>
        `when '${catalog}'::regclass then (select o.${column} from pg_catalog.${catalog} o where o.oid = d.objid)`,
    )
    .join('\n  ')}
  ${[
    ['pg_attrdef', 'adrelid'],
    ['pg_trigger', 'tgrelid'],
    ['pg_rewrite', 'ev_class'],
    ['pg_policy', 'polrelid'],
  ]
    .map(
      ([catalog, column]) => `when '${catalog}'::regclass then (
    select c.relnamespace from pg_catalog.${catalog} o join pg_catalog.pg_class c on c.oid = o.${column} where o.oid = d.objid)`,
    )
    .join('\n  ')}
end`

const hashed = `
select encode(sha256(convert_to(coalesce(string_agg(line, E'\\n' order by line collate "C"), ''), 'UTF8')), 'hex')
       || ' ' || count(*) as print
from lines`
