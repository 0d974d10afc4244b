import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { z } from 'zod'
import { quoteIdent, quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'

/*
 * Schemas of our own beside the user's: where live tables are held for a moment while their twins are made, where the
 * twins are loaded and proven, and where the replaced tables are kept. One for each schema that tables come from, because
 * two schemas may have tables and indexes of the same names.
 *
 * Promises: nobody but us may look into a new one; each says in its comment whose it is, so that a later process finds
 * it. Never: uses CASCADE; a drop that something outside still needs fails, and changes nothing.
 */

export interface Aside {
  kind: 'hold' | 'stage' | 'previous'
  job: string
  /** From a schema of the user's to ours. */
  schemas: Map<string, string>
}

/** An aside that is there. */
export interface FoundAside extends Aside {
  /** On disk, with indexes and TOAST. */
  bytes: number
  /** Under the names that they have outside: source schema and name. */
  tables: TableName[]
}

const PREFIX = { hold: 'multiboard_sync_hold', stage: 'multiboard_sync_stage', previous: 'multiboard_sync_prev' }

/** Names only. The same schemas in any order give the same names; `schemas` are the user's. */
export function asideOf(kind: Aside['kind'], job: string, schemas: string[]): Aside {
  const names = [...new Set(schemas)].toSorted()
  return { kind, job, schemas: new Map(names.map((schema, index) => [schema, `${PREFIX[kind]}_${job}_${index + 1}`])) }
}

/** Where a table of the user's schema stands in the aside. */
export function inAside(aside: Aside, table: TableName): TableName {
  const schema = aside.schemas.get(table.schema)
  if (schema === undefined) throw new SyncError('internal', `No schema was set aside for ${table.schema}.`)
  return { schema, name: table.name }
}

/** Makes its schemas, for us alone, whatever default privileges say. One statement: all or none. */
export async function createAside(session: Session, aside: Aside): Promise<void> {
  if (aside.schemas.size === 0) return
  await session.run(
    [...aside.schemas]
      .map(([schema, name]) => createSql(name, { kind: aside.kind, job: aside.job, schema }))
      .join(';\n'),
  )
  const grantees = await session.query<{ schema: string; grantee: string | null }>(GRANTEES_SQL, [
    [...aside.schemas.values()],
  ])
  for (const { schema, grantee } of grantees) {
    await session.run(
      `revoke all on schema ${quoteIdent(schema)} from ${grantee === null ? 'public' : quoteIdent(grantee)}`,
    )
  }
}

function createSql(name: string, mark: Mark): string {
  const schema = quoteIdent(name)
  return `create schema ${schema};\ncomment on schema ${schema} is ${quoteLiteral(JSON.stringify(mark))}`
}

const GRANTEES_SQL = `
select distinct n.nspname::text as schema,
       (select r.rolname::text from pg_catalog.pg_roles r where r.oid = e.grantee) as grantee
from pg_catalog.pg_namespace n
cross join lateral pg_catalog.aclexplode(n.nspacl) e
where n.nspname = any ($1) and e.grantee <> n.nspowner`

/** What a schema's comment says of it. */
const markSchema = z.object({ kind: z.enum(['hold', 'stage', 'previous']), job: z.string(), schema: z.string() })
type Mark = z.infer<typeof markSchema>

interface FoundSchema {
  name: string
  comment: string | null
  bytes: number
  tables: string[]
}

/**
 * All of our role's that are in this database, by job and kind. Schemas of such a name without our comment, or of another
 * owner, are none of ours: whoever may create schemas could have made them.
 */
export async function readAsides(session: Session): Promise<FoundAside[]> {
  const asides = new Map<string, FoundAside>()
  for (const found of await session.query<FoundSchema>(FOUND_SQL, [Object.values(PREFIX)])) {
    const mark = readMark(found.comment)
    if (mark === undefined) continue
    const { kind, job, schema } = mark
    const key = `${job} ${kind}`
    const aside = asides.get(key) ?? { kind, job, schemas: new Map<string, string>(), bytes: 0, tables: [] }
    aside.schemas.set(schema, found.name)
    aside.bytes += found.bytes
    aside.tables.push(...found.tables.map((name) => ({ schema, name })))
    asides.set(key, aside)
  }
  return [...asides.values()]
}

function readMark(comment: string | null): Mark | undefined {
  try {
    return markSchema.safeParse(JSON.parse(comment ?? '')).data
  } catch {
    return undefined
  }
}

const FOUND_SQL = `
select n.nspname::text as name, pg_catalog.obj_description(n.oid, 'pg_namespace') as comment,
       coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)) filter (where c.relkind in ('r', 'm', 'S')), 0)::float8 as bytes,
       coalesce(array_agg(c.relname::text order by c.relname collate "C") filter (where c.relkind in ('r', 'p')), '{}') as tables
from pg_catalog.pg_namespace n
left join pg_catalog.pg_class c on c.relnamespace = n.oid
where exists (select from unnest($1::text[]) as prefix where starts_with(n.nspname, prefix || '_'))
  and exists (
    select from pg_catalog.pg_roles r
    where r.rolname = current_user
      and (r.oid = n.nspowner or not r.rolsuper and pg_catalog.pg_has_role(n.nspowner, 'usage')))
group by n.oid, n.nspname
order by n.nspname collate "C"`

interface Relation extends TableName {
  oid: number
  kind: 'r' | 'p' | 'v' | 'm' | 'S' | 'f'
  /** Of a view or materialized view: those of the aside that it reads. */
  reads: number[]
}

interface Attached extends TableName {
  /** RULE, POLICY. */
  what: string
  attached: string
}

/**
 * Drops its schemas with all that is in them, in the caller's transaction or, without one, each step for itself: what
 * was begun can be begun again. Schemas that are not there any more are no error. With a stage goes its hold. Throws `query-failed` (2BP01) when
 * something outside depends on what would be dropped.
 */
export async function dropAside(session: Session, aside: Aside): Promise<void> {
  const hold = aside.kind === 'stage' ? asideOf('hold', aside.job, [...aside.schemas.keys()]).schemas : new Map()
  const schemas: string[] = [...aside.schemas.values(), ...hold.values()]
  for (const { what, attached, ...table } of await session.query<Attached>(ATTACHED_SQL, [schemas])) {
    await session.run(`drop ${what} ${quoteIdent(attached)} on ${quoteTable(table)} restrict`)
  }
  const relations = await session.query<Relation>(RELATIONS_SQL, [schemas])
  const drop = async (kind: string, some: Relation[]): Promise<void> => {
    if (some.length > 0) await session.run(`drop ${kind} ${some.map(quoteTable).join(', ')} restrict`)
  }
  for (const { kind, views } of inDropOrder(relations)) {
    await drop(kind === 'm' ? 'materialized view' : 'view', views)
  }
  await drop(
    'foreign table',
    relations.filter(({ kind }) => kind === 'f'),
  )
  await drop(
    'table',
    relations.filter(({ kind }) => kind === 'r' || kind === 'p'),
  )
  const left = await session.query<Relation>(RELATIONS_SQL, [schemas])
  await drop(
    'sequence',
    left.filter(({ kind }) => kind === 'S'),
  )
  if (schemas.length > 0) await session.run(`drop schema if exists ${schemas.map(quoteIdent).join(', ')} restrict`)
}

/** Views and materialized views, readers first, in batches of one kind. Views that read each other are one batch. */
function inDropOrder(relations: Relation[]): { kind: 'v' | 'm'; views: Relation[] }[] {
  let left = relations.filter(({ kind }) => kind === 'v' || kind === 'm')
  const batches: { kind: 'v' | 'm'; views: Relation[] }[] = []
  while (left.length > 0) {
    const read = new Set(left.flatMap(({ oid, reads }) => reads.filter((other) => other !== oid)))
    const free = left.filter(({ oid }) => !read.has(oid))
    const next = free.length > 0 ? free : left
    for (const kind of ['v', 'm'] as const) {
      const views = next.filter((view) => view.kind === kind)
      if (views.length > 0) batches.push({ kind, views })
    }
    left = left.filter((view) => !next.includes(view))
  }
  return batches
}

/** Rules and policies may read views of the aside. Those of the server itself are the views' own. */
const ATTACHED_SQL = `
select n.nspname::text as schema, c.relname::text as name, a.what, a.attached
from (
  select ev_class as oid, 'rule' as what, rulename::text as attached
  from pg_catalog.pg_rewrite where rulename <> '_RETURN'
  union all
  select polrelid, 'policy', polname::text from pg_catalog.pg_policy
) a
join pg_catalog.pg_class c on c.oid = a.oid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any ($1)
order by 1, 2, 3, 4`

const RELATIONS_SQL = `
select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
       array(select distinct d.refobjid::int8::float8
             from pg_catalog.pg_rewrite r
             join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
               and d.refclassid = 'pg_catalog.pg_class'::regclass
             where r.ev_class = c.oid and c.relkind in ('v', 'm')) as reads
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any ($1) and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
order by n.nspname collate "C", c.relname collate "C"`
