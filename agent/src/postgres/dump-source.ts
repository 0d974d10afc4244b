import { createHash } from 'node:crypto'
import type { TableInfo } from './catalog.ts'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries, type DumpEntry } from './dump-entries.ts'
import { dumpSchema } from './dump-schema.ts'
import { readPopulatedMatviews } from './matviews.ts'
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
const COMMON = [
  '-s',
  '--sequence-data',
  '-B',
  '-O',
  '-x',
  '--no-publications',
  '--no-subscriptions',
  '-N',
  'multiboard_sync',
]

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
  const patterns = relations.flatMap((one) => ['-T', quoteTable(one)])
  const text = await dumpSchema(source.database, {
    args: [...COMMON, `--snapshot=${source.snapshotId}`, ...patterns],
    signal,
  })
  const out = new Set(dependants.filter((one) => one.kind === 'entry').map(keyOf))
  const gone = new Set(relations.map(keyOf))
  const matviews = (await readPopulatedMatviews(source.holder)).filter((view) => !gone.has(keyOf(view)))
  return splitSections(text, (entry) => !out.has(keyOf(entry)), matviews)
}

/** The definitions of a database as they are now, for a comparison. */
export async function dumpDefinitions(database: DatabaseUrl, signal: AbortSignal): Promise<string> {
  return await dumpSchema(database, { args: COMMON, signal })
}

/** What pg_dump writes after the rows. Everything before the first of these and of the sequences is pre-data. */
const POST_DATA_TYPES = new Set([
  'CHECK CONSTRAINT',
  'CONSTRAINT',
  'EVENT TRIGGER',
  'FK CONSTRAINT',
  'INDEX',
  'INDEX ATTACH',
  'POLICY',
  'ROW SECURITY',
  'RULE',
  'STATISTICS',
  'TRIGGER',
])

/**
 * One run of pg_dump as its three sections: a run for each would ask the server everything three times. With -s it
 * leaves out the refresh of materialised views; those lines are ours, in pg_dump's form and place: at the end.
 */
function splitSections(text: string, isWanted: (entry: DumpEntry) => boolean, matviews: TableName[]): SchemaText {
  const { preamble, entries } = splitEntries(text)
  const isSequence = (entry: DumpEntry): boolean => entry.type === 'SEQUENCE SET'
  const found = entries.findIndex((entry) => isSequence(entry) || POST_DATA_TYPES.has(entry.type))
  const begin = found === -1 ? entries.length : found
  const join = (some: DumpEntry[]): string => [preamble, ...withSettings(some.filter(isWanted))].join('')
  const after = entries.slice(begin)
  const postData = join(after.filter((entry) => !isSequence(entry)))
  return {
    preData: join(entries.slice(0, begin)),
    sequences: join(after.filter(isSequence)),
    postData: `${postData}${matviews.map(refreshEntry).join('')}`,
  }
}

/** An entry's SET lines stand in the tail of an earlier one, which may be gone or in another section: said again. */
function withSettings(entries: DumpEntry[]): string[] {
  let settings = ''
  return entries.flatMap((entry) => {
    if (entry.settings === settings) return [entry.raw]
    settings = entry.settings
    return [`${settings}\n\n`, entry.raw]
  })
}

function refreshEntry(view: TableName): string {
  const header = (name: string): string => name.replaceAll(/[\r\n]/g, ' ')
  return `--
-- Name: ${header(view.name)}; Type: MATERIALIZED VIEW DATA; Schema: ${header(view.schema)}; Owner: -
--

REFRESH MATERIALIZED VIEW ${quoteTable(view)};


`
}

function keyOf(one: TableName): string {
  return `${one.schema}\n${one.name}`
}

interface Dependant {
  kind: 'relation' | 'entry'
  schema: string
  /** A relation's name, or an entry's as pg_dump writes it. */
  name: string
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
