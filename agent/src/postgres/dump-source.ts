import { createHash } from 'node:crypto'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { TableInfo } from './catalog.ts'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries, type DumpEntry } from './dump-entries.ts'
import { dumpSchema } from './dump-schema.ts'
import { readPopulatedMatviews } from './matviews.ts'
import { quoteIdent, quoteTable } from './quote.ts'
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
  'multiboard_sync*',
]

/** SHA-256 (hex) over the three texts, one after the other: `schema_sha256` of the manifest. */
export function schemaSha256(schema: SchemaText): string {
  return createHash('sha256').update(schema.preData).update(schema.sequences).update(schema.postData).digest('hex')
}

/**
 * The schema of a source under its snapshot. Tables in `left` stay out, and with them what cannot stand without them:
 * views, functions, foreign keys, policies, rules, triggers. Types and functions that do not depend on them are kept, and
 * the definitions of tables that a chosen one inherits from, so that the text restores by itself. Throws
 * `unsupported-object` when a chosen table itself cannot stand without one left out.
 */
export async function dumpSource(source: Source, left: TableInfo[], signal: AbortSignal): Promise<SchemaText> {
  const without = withoutAncestors(source.tables, left)
  const dependants = without.length > 0 ? await readDependants(source.holder, without) : []
  refuseStuck(dependants)
  const relations = [...without, ...dependants.filter((one) => one.kind === 'relation')]
  const patterns = relations.flatMap((one) => ['-T', quoteTable(one)])
  const text = await dumpSchema(source.database, {
    args: [...COMMON, `--snapshot=${source.snapshotId}`, ...patterns],
    signal,
  })
  const out = new Set(dependants.filter((one) => one.kind === 'entry').map(keyOf))
  const gone = new Set(relations.map(keyOf))
  const matviews = (await readPopulatedMatviews(source.holder)).filter((view) => !gone.has(keyOf(view)))
  return splitSections(text, out, matviews)
}

/** `left`, but for the tables that one outside of it inherits from. */
function withoutAncestors(tables: TableInfo[], left: TableInfo[]): TableInfo[] {
  const byOid = new Map(tables.map((table) => [table.oid, table]))
  const out = new Set(left.map((table) => table.oid))
  const kept = tables.filter((table) => !out.has(table.oid))
  for (let table = kept.pop(); table; table = kept.pop()) {
    const parents = table.inheritsOids.filter((oid) => out.delete(oid))
    kept.push(...parents.flatMap((oid) => byOid.get(oid) ?? []))
  }
  return left.filter((table) => out.has(table.oid))
}

function refuseStuck(dependants: Dependant[]): void {
  const stuck = dependants.filter((one) => one.kind === 'stuck')
  if (stuck.length === 0) return
  throw new SyncError('unsupported-object', 'What is to be copied cannot stand without tables that are left out.', {
    hint: 'Copy the tables that these depend on as well.',
    details: stuck.map((one) => one.name),
  })
}

/** The definitions of a database as they are now, for a comparison. */
export async function dumpDefinitions(database: DatabaseUrl, signal: AbortSignal): Promise<string> {
  return await dumpSchema(database, { args: COMMON, signal })
}

/** Of the names in one pattern: a regular expression of the server's, which has limits. */
const NAMES_A_PATTERN = 50

/**
 * The definitions of these relations and of what they own (columns, constraints, indexes, triggers, rules, policies, owned
 * sequences), with owners and grants, as they are now. pg_dump leaves out extended statistics and publications. For each 50
 * names the server matches all its relations: 30 s for 3,000 names, where dumpRelationsOf() takes five.
 */
export async function dumpRelations(
  database: DatabaseUrl,
  relations: TableName[],
  signal: AbortSignal,
): Promise<string> {
  const bySchema = Map.groupBy(relations, ({ schema }) => schema)
  const patterns: string[] = []
  for (const [schema, members] of bySchema) {
    const names = members.map(({ name }) => quoteIdent(name))
    // pg_dump asks the server once for each pattern. Between quotes nothing is special; outside, `|` means or.
    for (let at = 0; at < names.length; at += NAMES_A_PATTERN) {
      patterns.push('-t', `${quoteIdent(schema)}.${names.slice(at, at + NAMES_A_PATTERN).join('|')}`)
    }
  }
  // Without a pattern pg_dump would dump everything.
  if (patterns.length === 0) return ''
  return await dumpSchema(database, { args: [...WITH_OWNERS, ...patterns], signal })
}

/** The same of all relations in these schemas. */
export async function dumpRelationsOf(database: DatabaseUrl, schemas: string[], signal: AbortSignal): Promise<string> {
  if (schemas.length === 0) return ''
  const patterns = schemas.flatMap((schema) => ['-t', `${quoteIdent(schema)}.*`])
  return await dumpSchema(database, { args: [...WITH_OWNERS, ...patterns], signal })
}

const WITH_OWNERS = ['-s', '--no-publications', '--no-subscriptions']

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
function splitSections(text: string, out: Set<string>, matviews: TableName[]): SchemaText {
  const { preamble, entries } = splitEntries(text)
  const unwanted = unwantedEntries(entries, out)
  const isSequence = (entry: DumpEntry): boolean => entry.type === 'SEQUENCE SET'
  const found = entries.findIndex((entry) => isSequence(entry) || POST_DATA_TYPES.has(entry.type))
  const begin = found === -1 ? entries.length : found
  const join = (some: DumpEntry[]): string =>
    [preamble, ...withSettings(some.filter((entry) => !unwanted.has(entry)))].join('')
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

/** The entries named in `out`, each with its comments, which pg_dump writes right after it. */
function unwantedEntries(entries: DumpEntry[], out: Set<string>): Set<DumpEntry> {
  const unwanted = new Set<DumpEntry>()
  let previous: DumpEntry | undefined
  for (const entry of entries) {
    const isAttached = entry.type === 'COMMENT' && previous !== undefined && unwanted.has(previous)
    if (isAttached || (entry.type !== 'COMMENT' && out.has(keyOf(entry)))) unwanted.add(entry)
    previous = entry
  }
  return unwanted
}

function refreshEntry(view: TableName): string {
  const header = (name: string): string => name.replaceAll(/[\r\n]/g, ' ')
  return `--
-- Name: ${header(view.name)}; Type: MATERIALIZED VIEW DATA; Schema: ${header(view.schema)}; Owner: -
--

REFRESH MATERIALIZED VIEW ${quoteTable(view)};


`
}

/** pg_dump's headers have blanks for line ends. */
function keyOf(one: TableName): string {
  return [one.schema, one.name].map((name) => name.replaceAll(/[\r\n]/g, ' ')).join('\n')
}

interface Dependant {
  kind: 'relation' | 'entry' | 'stuck'
  schema: string
  /** A relation's name, an entry's as pg_dump writes it, or of what is stuck PostgreSQL's own description. */
  name: string
}

/** Everything that cannot stand without the tables left out. */
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
        -- Other tables are the caller's to decide about, and pg_dump keeps the sequences of tables that it leaves out.
        and not (d.classid = 'pg_class'::regclass and exists (
          select from pg_catalog.pg_class c where c.oid = d.objid and c.relkind in ('r', 'p', 'f', 'S')))
      union all
      select 'pg_class'::regclass::oid, r.ev_class
      from pg_catalog.pg_rewrite r
      where gone.classid = 'pg_rewrite'::regclass and r.oid = gone.objid and r.rulename = '_RETURN'
      union all
      select 'pg_type'::regclass::oid, t.typarray
      from pg_catalog.pg_type t
      where gone.classid = 'pg_type'::regclass and t.oid = gone.objid and t.typarray <> 0
    ) next
),
-- What hangs on a table and has, or has not, an entry of its own in pg_dump's text.
part (classid, objid, relid, name, own) as (
  select 'pg_constraint'::regclass::oid, oid, conrelid, conname::text, contype = 'f'
  from pg_catalog.pg_constraint where conrelid <> 0 and contype not in ('t', 'n')
  union all
  select 'pg_trigger'::regclass::oid, oid, tgrelid, tgname::text, true from pg_catalog.pg_trigger where not tgisinternal
  union all
  select 'pg_policy'::regclass::oid, oid, polrelid, polname::text, true from pg_catalog.pg_policy
  union all
  select 'pg_rewrite'::regclass::oid, oid, ev_class, rulename::text, true from pg_catalog.pg_rewrite where rulename <> '_RETURN'
  union all
  select 'pg_attrdef'::regclass::oid, oid, adrelid, null, false from pg_catalog.pg_attrdef
)
select 'relation' as kind, n.nspname as schema, c.relname as name
from gone
join pg_catalog.pg_class c on gone.classid = 'pg_class'::regclass and c.oid = gone.objid and c.relkind in ('v', 'm')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union all
select case when part.own then 'entry' else 'stuck' end, n.nspname,
       case when part.own then c.relname || ' ' || part.name
            else pg_catalog.pg_describe_object(part.classid, part.objid, 0) end
from gone
join part on (part.classid, part.objid) = (gone.classid, gone.objid)
join pg_catalog.pg_class c on c.oid = part.relid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where not exists (select from gone g where g.classid = 'pg_class'::regclass and g.objid = part.relid)
union all
select 'entry', n.nspname, p.proname || '(' || coalesce((
    select string_agg(pg_catalog.format_type(a.type, null), ', ' order by a.n)
    from unnest(p.proargtypes::oid[]) with ordinality a (type, n)), case p.prokind when 'a' then '*' else '' end) || ')'
from gone
join pg_catalog.pg_proc p on gone.classid = 'pg_proc'::regclass and p.oid = gone.objid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
union all
select 'entry', n.nspname, s.stxname
from gone
join pg_catalog.pg_statistic_ext s on gone.classid = 'pg_statistic_ext'::regclass and s.oid = gone.objid
join pg_catalog.pg_namespace n on n.oid = s.stxnamespace
union all
select 'entry', n.nspname, c.relname
from gone
join pg_catalog.pg_class c on gone.classid = 'pg_class'::regclass and c.oid = gone.objid and c.relkind in ('i', 'I')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
union all
select 'entry', '', e.evtname
from gone
join pg_catalog.pg_event_trigger e on gone.classid = 'pg_event_trigger'::regclass and e.oid = gone.objid
union all
-- Tables with a column of a type that goes.
select 'stuck', '', pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
from gone
join pg_catalog.pg_depend d on d.refclassid = gone.classid and d.refobjid = gone.objid and d.deptype in ('n', 'a')
join pg_catalog.pg_class c on d.classid = 'pg_class'::regclass and c.oid = d.objid and c.relkind in ('r', 'p', 'f')
where gone.classid = 'pg_type'::regclass and d.objsubid > 0 and c.oid <> all ($1::oid[])
union all
select 'stuck', '', pg_catalog.pg_describe_object(gone.classid, gone.objid, 0)
from gone
left join pg_catalog.pg_type t on gone.classid = 'pg_type'::regclass and t.oid = gone.objid
left join pg_catalog.pg_type e on e.oid = t.typelem
where gone.classid in ('pg_operator'::regclass, 'pg_cast'::regclass, 'pg_opclass'::regclass, 'pg_opfamily'::regclass)
   or gone.classid = 'pg_class'::regclass
     and exists (select from pg_catalog.pg_class c where c.oid = gone.objid and c.relkind = 'c')
   or t.oid is not null and t.typtype <> 'c' and not (t.typcategory = 'A' and e.typtype = 'c')`
