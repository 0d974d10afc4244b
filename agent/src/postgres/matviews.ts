import { userSchemas } from './catalog.ts'
import type { Session } from './session.ts'

export interface Matview {
  oid: number
  schema: string
  name: string
}

interface MatviewRow extends Matview {
  /** Every relation that its rows come from, through views, partitions, children and functions with SQL-standard bodies. */
  below: number[]
}

/**
 * The populated materialized views whose rows come from these tables, directly or through others, in an order in which
 * each can be refreshed. What a function reads whose body is text (plpgsql) is not known to PostgreSQL, nor to us.
 */
export async function readDependentMatviews(session: Session, tableOids: number[]): Promise<Matview[]> {
  const tables = new Set(tableOids)
  return (await readInOrder(session)).filter((row) => row.below.some((oid) => tables.has(oid)))
}

/** All populated materialized views, in an order in which each can be refreshed. */
export async function readPopulatedMatviews(session: Session): Promise<Matview[]> {
  return await readInOrder(session)
}

async function readInOrder(session: Session): Promise<MatviewRow[]> {
  const rows = await session.query<MatviewRow>(belowSql)
  const matviews = new Set(rows.map((row) => row.oid))
  // One that reads another also reads everything that the other reads, and the other: so it has more of them below it.
  const depth = (row: MatviewRow): number => row.below.filter((oid) => matviews.has(oid)).length
  return rows.sort((a, b) => depth(a) - depth(b))
}

const belowSql = `
with recursive below (root, classid, objid) as (
  select c.oid, 'pg_class'::regclass::oid, c.oid
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'm' and c.relispopulated and ${userSchemas}
  union
  select b.root, next.classid, next.objid
  from below b
  cross join lateral (
    select d.refclassid as classid, d.refobjid as objid
    from pg_rewrite r
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.deptype = 'n'
    where b.classid = 'pg_class'::regclass and r.ev_class = b.objid and r.ev_type = '1'
    union all
    select 'pg_class'::regclass::oid, i.inhrelid
    from pg_inherits i
    where b.classid = 'pg_class'::regclass and i.inhparent = b.objid
    union all
    select d.refclassid, d.refobjid
    from pg_depend d
    where b.classid = 'pg_proc'::regclass and d.classid = 'pg_proc'::regclass and d.objid = b.objid and d.deptype = 'n'
  ) as next
  where next.classid in ('pg_class'::regclass, 'pg_proc'::regclass)
)
select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name,
       coalesce(array_agg(b.objid::int8::float8) filter (where b.objid <> b.root), '{}') as below
from below b
join pg_class c on c.oid = b.root
join pg_namespace n on n.oid = c.relnamespace
where b.classid = 'pg_class'::regclass
group by c.oid, n.nspname, c.relname
order by n.nspname collate "C", c.relname collate "C"`
