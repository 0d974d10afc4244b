import { createHash } from 'node:crypto'
import type { TableInfo } from './catalog.ts'
import { splitEntries } from './dump-entries.ts'
import { dumpSchema } from './dump-schema.ts'
import { quoteTable } from './quote.ts'
import type { DatabaseUrl, Session } from './session.ts'
import type { Source } from './open-source.ts'

/** pg_dump's text of a schema in its three sections. Text of definitions only; never rows. */
export interface SchemaText {
  preData: string
  sequences: string
  postData: string
}

// -O -x: owners and grants name roles that another server may lack. Publications and subscriptions are never copied.
// -B: large objects are refused by the plan, so there are none to dump.
const COMMON = ['-B', '-O', '-x', '--no-publications', '--no-subscriptions', '-N', 'multiboard_sync']

/** SHA-256 (hex) over the three texts, one after the other: `schema_sha256` of the manifest. */
export function schemaSha256(schema: SchemaText): string {
  return createHash('sha256').update(schema.preData).update(schema.sequences).update(schema.postData).digest('hex')
}

/**
 * The schema of a source under its snapshot. Tables in `left` stay out, and with them the views, functions and foreign
 * keys that depend on them; types and functions that do not are kept, so that the text restores by itself.
 */
export async function dumpSource(source: Source, left: TableInfo[], signal: AbortSignal): Promise<SchemaText> {
  const dependants = left.length > 0 ? await readDependants(source.holder, left) : []
  const relations = [...left, ...dependants.filter((one) => one.kind === 'relation')]
  const args = [...COMMON, `--snapshot=${source.snapshotId}`, ...relations.flatMap((one) => ['-T', quoteTable(one)])]
  const dump = async (...section: string[]): Promise<string> =>
    await dumpSchema(source.database, { args: [...args, ...section], signal })
  const preData = await dump('--section=pre-data')
  const sequences = await dump('-s', '--sequence-data', '--section=data')
  const postData = await dump('--section=post-data')
  return {
    preData: withoutDependants(preData, dependants),
    sequences,
    postData: withoutDependants(postData, dependants),
  }
}

/** The definitions of a database as they are now, for a comparison. */
export async function dumpDefinitions(
  database: DatabaseUrl,
  signal: AbortSignal,
): Promise<{ preData: string; postData: string }> {
  return {
    preData: await dumpSchema(database, { args: [...COMMON, '--section=pre-data'], signal }),
    postData: await dumpSchema(database, { args: [...COMMON, '--section=post-data'], signal }),
  }
}

interface Dependant {
  kind: 'relation' | 'entry'
  schema: string
  /** A relation's name, or an entry's as pg_dump writes it. */
  name: string
}

function withoutDependants(text: string, dependants: Dependant[]): string {
  const out = new Set(dependants.filter((one) => one.kind === 'entry').map((one) => `${one.schema}\n${one.name}`))
  if (out.size === 0) return text
  const { preamble, entries } = splitEntries(text)
  return [
    preamble,
    ...entries.filter((entry) => !out.has(`${entry.schema}\n${entry.name}`)).map((entry) => entry.raw),
  ].join('')
}

/** Everything that cannot stand without the tables left out: views, materialised views, foreign keys, functions. */
async function readDependants(session: Session, left: TableInfo[]): Promise<Dependant[]> {
  return await session.query<Dependant>(DEPENDANTS_SQL, [left.map((table) => table.oid)])
}

const DEPENDANTS_SQL = `
with recursive gone (classid, objid) as (
    select 'pg_class'::regclass::oid, c.oid from pg_catalog.pg_class c where c.oid = any ($1::oid[])
  union
    select next.classid, next.objid
    from gone
    cross join lateral (
      select d.classid, d.objid
      from pg_catalog.pg_depend d
      where d.refclassid = gone.classid and d.refobjid = gone.objid and d.deptype in ('n', 'a', 'i')
        -- A partition's parent and an inheriting child are tables of their own; the caller decides about them.
        and not (d.classid = 'pg_class'::regclass and exists (
          select from pg_catalog.pg_class c where c.oid = d.objid and c.relkind in ('r', 'p')))
      union all
      select 'pg_class'::regclass::oid, r.ev_class
      from pg_catalog.pg_rewrite r
      where gone.classid = 'pg_rewrite'::regclass and r.oid = gone.objid and r.rulename = '_RETURN'
      union all
      select 'pg_type'::regclass::oid, t.typarray
      from pg_catalog.pg_type t
      where gone.classid = 'pg_type'::regclass and t.oid = gone.objid and t.typarray <> 0
    ) next
)
select 'relation' as kind, n.nspname as schema, c.relname as name
from gone
join pg_catalog.pg_class c on gone.classid = 'pg_class'::regclass and c.oid = gone.objid and c.relkind in ('v', 'm')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union all
select 'entry', n.nspname, c.relname || ' ' || k.conname
from gone
join pg_catalog.pg_constraint k on gone.classid = 'pg_constraint'::regclass and k.oid = gone.objid and k.contype = 'f'
join pg_catalog.pg_class c on c.oid = k.conrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.oid <> all ($1::oid[])
union all
select 'entry', n.nspname, p.proname || '(' || coalesce((
    select string_agg(pg_catalog.format_type(a.type, null), ', ' order by a.n)
    from unnest(p.proargtypes::oid[]) with ordinality a (type, n)), '') || ')'
from gone
join pg_catalog.pg_proc p on gone.classid = 'pg_proc'::regclass and p.oid = gone.objid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace`
