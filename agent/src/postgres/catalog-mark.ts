import { planQuery, prepareQuery } from './prepare-query.ts'
import { preparedRead, type PreparedRead } from './query-all.ts'
import { quoteLiteral } from './quote.ts'
import type { Session } from './session.ts'

/*
 * Whether anybody has changed a definition since: one cheap number instead of a second whole fingerprint.
 *
 * Promises: two equal marks mean that no definition was changed between them; ANALYZE, VACUUM, TRUNCATE, REFRESH, growing
 * tables, sequence values and temporary tables do not change it. Never: says what was changed, or survives a dump; unequal
 * marks mean no more than that the fingerprint has to be read again. What others have not committed is not seen.
 */

/** Rows of these hold nothing but definitions: a version of a row is told by xmin and ctid. Filters are over `o`. */
const definitions: readonly (readonly [catalog: string, filter: string])[] = [
  ['pg_namespace', `o.nspname !~ '^pg_(toast_)?temp_'`],
  ['pg_attribute', `o.attrelid >= 16384 and o.attrelid not in (select oid from temporary)`],
  ['pg_attrdef', `o.adrelid not in (select oid from temporary)`],
  ['pg_constraint', `o.oid >= 16384 and o.conrelid not in (select oid from temporary)`],
  ['pg_index', `o.indexrelid >= 16384 and o.indrelid not in (select oid from temporary)`],
  ['pg_inherits', `o.inhrelid not in (select oid from temporary)`],
  ['pg_partitioned_table', `o.partrelid not in (select oid from temporary)`],
  ['pg_sequence', `o.seqrelid not in (select oid from temporary)`],
  ['pg_trigger', `o.tgrelid not in (select oid from temporary)`],
  ['pg_rewrite', `o.oid >= 16384 and o.ev_class not in (select oid from temporary)`],
  ['pg_policy', 'true'],
  ['pg_statistic_ext', 'true'],
  ['pg_type', `o.oid >= 16384 and o.typnamespace not in (select oid from apart)`],
  ['pg_proc', `o.oid >= 16384`],
  ['pg_aggregate', `o.aggfnoid >= 16384`],
  ['pg_enum', 'true'],
  ['pg_range', `o.rngtypid >= 16384`],
  ['pg_cast', `o.oid >= 16384`],
  ['pg_operator', `o.oid >= 16384`],
  ['pg_opclass', `o.oid >= 16384`],
  ['pg_opfamily', `o.oid >= 16384`],
  ['pg_amop', `o.oid >= 16384`],
  ['pg_amproc', `o.oid >= 16384`],
  ['pg_am', `o.oid >= 16384`],
  ['pg_collation', `o.oid >= 16384`],
  ['pg_conversion', `o.oid >= 16384`],
  ['pg_language', 'true'],
  ['pg_transform', 'true'],
  ['pg_ts_config', `o.oid >= 16384`],
  ['pg_ts_config_map', `o.mapcfg >= 16384`],
  ['pg_ts_dict', `o.oid >= 16384`],
  ['pg_ts_parser', `o.oid >= 16384`],
  ['pg_ts_template', `o.oid >= 16384`],
  ['pg_extension', 'true'],
  ['pg_event_trigger', 'true'],
  ['pg_default_acl', 'true'],
  ['pg_foreign_data_wrapper', 'true'],
  ['pg_foreign_server', 'true'],
  ['pg_foreign_table', 'true'],
  ['pg_publication', 'true'],
  ['pg_publication_rel', 'true'],
  ['pg_subscription_rel', 'true'],
  ['pg_seclabel', 'true'],
  ['pg_description', `o.objoid >= 16384 or o.classoid = 'pg_namespace'::regclass`],
  // Membership of extensions is written nowhere else.
  ['pg_depend', `o.refclassid = 'pg_extension'::regclass`],
]

/** TRUNCATE, REFRESH, CLUSTER and VACUUM write a relation's row without defining anything: only these columns do. */
const relationColumns = `oid relname relnamespace reltype reloftype relowner relam reltablespace relpersistence relkind
  relnatts relchecks relrowsecurity relforcerowsecurity relreplident relispartition relacl reloptions relpartbound`

/** A hash over the versions of all rows that definitions lie in. From the second one on nothing is planned. */
export async function readCatalogMark(session: Session): Promise<string> {
  const [row] = await session.query<{ mark: string }>(await prepareQuery(session, markSql(session.serverVersion)))
  if (row === undefined) throw new Error('an aggregate answers one row')
  return row.mark
}

export interface ChangeCheck {
  /** Equal to `before`: nothing was changed since. Another: ask `hasChanged`. */
  readonly quick: PreparedRead<string>
  readonly before: string
  /** The mark itself, compared with what it was: slower, and sure. */
  readonly hasChanged: () => Promise<boolean>
}

/**
 * Begins to watch: what is read from now on is what `hasChanged` is about. The quick answer counts the rows of the same
 * catalogues and hashes only those that transactions have written which were not over when the watch began: whoever
 * inserts, updates or deletes a row changes the count or is among them. It also changes with a TRUNCATE and other
 * people's temporary tables; the mark does not.
 */
export async function watchCatalog(session: Session): Promise<ChangeCheck> {
  const [row] = await session.query<{ oldest: string }>(
    'select pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::xid::text as oldest',
  )
  if (row === undefined) throw new Error('a function answers one row')
  const execute = await planQuery(session, quickSql(session.serverVersion, row.oldest))
  const quick = preparedRead(session, [execute], ([found]) => (found as { mark: string }).mark)
  const before = await quick.read()
  const mark = await readCatalogMark(session)
  return { quick, before, hasChanged: async () => (await readCatalogMark(session)) !== mark }
}

function quickSql(version: number, oldest: string): string {
  // With conditions only where an index spares most of the rows.
  const spared = ['pg_proc', 'pg_depend', 'pg_description', 'pg_operator', 'pg_amop', 'pg_amproc', 'pg_collation']
  const counts = catalogsOf(version).map(([catalog, filter]) => {
    const where = spared.includes(catalog) ? ` where ${filter}` : ''
    return `select count(*) || ':' || coalesce(sum(pg_catalog.hashtextextended(o.xmin::text || o.ctid::text, 0))
      filter (where pg_catalog.age(o.xmin) <= (select age from since)), 0) as sum from pg_catalog.${catalog} o${where}`
  })
  return `
with since as materialized (select pg_catalog.age(${quoteLiteral(oldest)}::xid) as age)
select ${hashOf([...counts, ...others])}`
}

/** One query, however many there are. */
function hashOf(sums: string[]): string {
  return `pg_catalog.md5(pg_catalog.concat_ws(' ', ${sums.map((sql) => `(${sql})`).join(',\n')})) as mark`
}

function catalogsOf(version: number): (readonly [catalog: string, filter: string])[] {
  const since15 = version >= 150_000 ? [['pg_publication_namespace', 'true'] as const] : []
  return [...definitions, ...since15, ['pg_class', 'true']]
}

const hash = (text: string): string =>
  `select count(*) || ':' || coalesce(sum(pg_catalog.hashtextextended(${text}, 0)), 0) as sum`

/**
 * Roles have names in the facts: those that own or may do something in this database, which pg_shdepend lists (all but the
 * first superuser); a server makes others at any time. Options of user mappings are hidden and no fact.
 */
const others = [
  `${hash(`o.oid || ' ' || o.rolname`)} from pg_catalog.pg_roles o
   where o.oid = 10 or o.oid in (
     select s.refobjid from pg_catalog.pg_shdepend s
     where s.dbid = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
       and s.refclassid = 'pg_authid'::regclass)`,
  `${hash(`o.umid || ' ' || o.umuser`)} from pg_catalog.pg_user_mappings o`,
]

function markSql(version: number): string {
  const catalogs = catalogsOf(version).filter(([catalog]) => catalog !== 'pg_class')
  const versions = catalogs.map(
    ([catalog, filter]) => `${hash(`o.xmin::text || o.ctid::text`)} from pg_catalog.${catalog} o where ${filter}`,
  )
  const relations = `${hash(
    `row(${relationColumns
      .split(/\s+/)
      .map((name) => `o.${name}`)
      .join(', ')})::text`,
  )}
    from pg_catalog.pg_class o where o.oid >= 16384 and o.relpersistence <> 't' and o.relkind <> 't' and o.relnamespace <> 99`
  return `
with temporary as materialized (select oid from pg_catalog.pg_class where relpersistence = 't'),
apart as materialized (select oid from pg_catalog.pg_namespace where nspname ~ '^pg_(temp|toast)')
select pg_catalog.md5(pg_catalog.string_agg(place || '=' || sum, ' ' order by place)) as mark
from (
  ${[relations, ...versions, ...others].map((sql, place) => `select ${place} as place, s.sum from (${sql}) s`).join('\n  union all\n  ')}
) sums`
}
