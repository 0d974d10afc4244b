import { quoteIdent } from '../quote.ts'
import type { Session } from '../session.ts'
import type { Dependant } from './dependants.ts'
import type { Remade } from './swap-set.ts'

export interface RemadeRow extends Omit<Remade, 'relation'> {
  /** Of the view, function, rule, policy, default or domain. */
  oid: number
  relationOid: number
  relation: string[]
  relationKind: 'r' | 'p' | 'v' | 'm' | 'f'
  /** In a temporary schema. */
  isTemporary: boolean
}

/**
 * The statements that point dependants to the new relations; they do not end in a semicolon, and one may hold several. In
 * no order. For a session whose search_path is empty.
 */
export async function readRemade(session: Session, dependants: Dependant[]): Promise<RemadeRow[]> {
  const carried = dependants.filter(({ does }) => deeds.some((deed) => deed === does))
  const paths = await readOperatorPaths(session, carried)
  const groups = Map.groupBy(carried, (one) => paths.get(`${one.class} ${one.oid}`) ?? '')
  const rows: RemadeRow[] = []
  for (const [path, group] of groups) rows.push(...(await readUnder(session, path, group)))
  return rows
}

const deeds = ['view', 'function', 'rule', 'policy', 'default', 'domain default'] as const satisfies Dependant['does'][]

/** The text of an expression is written for the search_path of the session, and has to be read under the same one. */
async function readUnder(session: Session, path: string, dependants: Dependant[]): Promise<RemadeRow[]> {
  const lists = deeds.map((deed) =>
    dependants.filter(({ does }) => does === deed).map(({ oid, home }) => (deed === 'view' ? home : oid)),
  )
  if (path === '') return await session.query<RemadeRow>(remadeSql, lists)
  await session.run(`set search_path = ${path}`)
  const reset = async () => await session.run(`set search_path = ''`)
  const rows = await session.query<RemadeRow>(remadeSql, lists).catch(async (error: unknown) => {
    // A transaction that has failed refuses this, and takes the SET back itself.
    await reset().catch(() => undefined)
    throw error
  })
  await reset()
  return rows.map((row) => ({
    ...row,
    sql: `set local search_path = ${path};\n${row.sql};\nset local search_path = ''`,
  }))
}

/**
 * IN, NULLIF, CASE, USING and IS DISTINCT FROM compare with an operator that SQL has no words to name: under an empty
 * search_path `citext in (…)` would be read as a comparison of text. What uses operators of other schemas is written and
 * read with these in its path.
 */
async function readOperatorPaths(session: Session, dependants: Dependant[]): Promise<Map<string, string>> {
  if (dependants.length === 0) return new Map()
  const rows = await session.query<{ key: string; schemas: string[] }>(
    `select u.class || ' ' || u.oid as key, array_agg(distinct n.nspname::text order by n.nspname::text) as schemas
     from unnest($1::text[], $2::oid[]) as u(class, oid)
     join pg_depend d on d.classid = ('pg_catalog.' || u.class)::regclass and d.objid = u.oid
       and d.refclassid = 'pg_operator'::regclass
     join pg_operator o on o.oid = d.refobjid
     join pg_namespace n on n.oid = o.oprnamespace
     where n.nspname <> 'pg_catalog'
     group by 1`,
    [dependants.map((one) => one.class), dependants.map((one) => one.oid)],
  )
  // Unless it is named, the schema of temporary objects comes first.
  return new Map(rows.map(({ key, schemas }) => [key, [...schemas.map(quoteIdent), 'pg_temp'].join(', ')]))
}

/** With its options, or CREATE OR REPLACE takes security_barrier, security_invoker and check_option away. */
const views = `
select 'view' as kind, c.oid, c.relowner as owner, c.oid as "relationOid", null::oid as namespace, '' as what,
       format('create or replace view %I.%I%s as %s', n.nspname, c.relname,
         (select ' with (' || string_agg(format('%I=%L', o.option_name, o.option_value), ', ') || ')'
          from pg_options_to_table(c.reloptions) o),
         rtrim(pg_get_viewdef(c.oid), E'; \\n')) as sql
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = any($1::oid[])`

const functions = `
select 'function', p.oid, p.proowner, null::oid, p.pronamespace, null, rtrim(pg_get_functiondef(p.oid), E' \\n')
from pg_proc p
where p.oid = any($2::oid[])`

/** Rules of views are always in their first state, which no statement could change. */
const rules = `
select 'rule', r.oid, c.relowner, c.oid, null, format('rule %I on ', r.rulename),
       regexp_replace(rtrim(pg_get_ruledef(r.oid), E'; \\n'), '^CREATE RULE', 'create or replace rule') ||
       case r.ev_enabled when 'O' then ''
         else format(E';\\nalter table only %I.%I %s rule %I', n.nspname, c.relname,
           case r.ev_enabled when 'D' then 'disable' when 'R' then 'enable replica' else 'enable always' end, r.rulename)
       end
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.oid = any($3::oid[])`

const policies = `
select 'policy', p.oid, c.relowner, c.oid, null, format('policy %I on ', p.polname),
       format('alter policy %I on %I.%I to %s', p.polname, n.nspname, c.relname,
         (select string_agg(case when role = 0 then 'public' else quote_ident(pg_get_userbyid(role)) end, ', ' order by place)
          from unnest(p.polroles) with ordinality as u(role, place)))
       || coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
       || coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
where p.oid = any($4::oid[])`

/** ONLY: partitions and children may have a default of their own. */
const defaults = `
select 'default', d.oid, c.relowner, c.oid, null, format('default of %I in ', a.attname),
       format('alter table only %I.%I alter column %I set default %s', n.nspname, c.relname, a.attname,
         pg_get_expr(d.adbin, d.adrelid))
from pg_attrdef d
join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
join pg_class c on c.oid = d.adrelid
join pg_namespace n on n.oid = c.relnamespace
where d.oid = any($5::oid[])`

const domains = `
select 'default', t.oid, t.typowner, null, t.typnamespace, 'default of ',
       format('alter domain %I.%I set default %s', n.nspname, t.typname, pg_get_expr(t.typdefaultbin, 0))
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.oid = any($6::oid[])`

const remadeSql = `
select o.kind, o.oid::int8::float8 as oid, pg_get_userbyid(o.owner)::text as owner,
       coalesce(n.nspname, m.nspname)::text as schema, coalesce(o."relationOid", 0)::int8::float8 as "relationOid",
       array[n.nspname, c.relname]::text[] as relation, c.relkind::text as "relationKind", o.sql,
       coalesce(n.nspname, m.nspname) ~ '^pg_temp_' as "isTemporary",
       case when o.kind = 'function' then (select i.type || ' ' || i.identity from pg_identify_object('pg_proc'::regclass, o.oid, 0) i)
            when c.oid is null then (select o.what || 'domain ' || i.identity from pg_identify_object('pg_type'::regclass, o.oid, 0) i)
            when o.kind = 'view' then format('view %I.%I', n.nspname, c.relname)
            else o.what || format('%I.%I', n.nspname, c.relname) end as what
from (${[views, functions, rules, policies, defaults, domains].join('\nunion all')}) as o
left join pg_class c on c.oid = o."relationOid"
left join pg_namespace n on n.oid = c.relnamespace
left join pg_namespace m on m.oid = o.namespace`
