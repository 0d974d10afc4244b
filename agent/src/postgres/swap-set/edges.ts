import type { Session } from '../session.ts'

/*
 * Who points at what: rows of pg_depend, upwards from tables. Each side is told with the relation that it is a part of
 * (an index, a constraint, a row type, an owned sequence … of a table), its home.
 */

export interface Edge {
  /** The catalogue of what depends: `pg_class`, `pg_rewrite`. */
  class: string
  oid: number
  /** Of a relation's column; else 0. */
  column: number
  /** 0 for what is no part of a relation, like functions. */
  home: number
  /**
   * Of pg_class its relkind, pg_constraint contype, pg_type typtype, pg_attrdef attgenerated; of pg_rewrite `view` for what
   * a view reads, of pg_trigger `key` when a foreign key made it and `from` for its FROM, of pg_proc `returns` or `takes` for types; else ''.
   */
  detail: string
  refClass: string
  refOid: number
  refHome: number
}

/**
 * Everything that depends on these relations, on what depends on them, and so on, but for what is a part of the same
 * relation; through other tables it does not go.
 */
export async function readEdges(session: Session, tableOids: number[]): Promise<Edge[]> {
  return await session.query<Edge>(edgesSql, [tableOids])
}

/** A sequence belongs to the column that it is `owned by` or the identity of. Before 14 it has a row type. */
function owned(relation: string): string {
  return `coalesce(
      (select s.refobjid from pg_depend s join pg_class q on q.oid = s.objid
       where s.classid = 'pg_class'::regclass and s.objid = ${relation} and s.objsubid = 0 and q.relkind = 'S'
         and s.refclassid = 'pg_class'::regclass and s.refobjsubid > 0 and s.deptype in ('a', 'i')),
      ${relation})`
}

function home(classid: string, objid: string): string {
  return `case ${classid}
    when 'pg_class'::regclass then coalesce(
      (select x.indrelid from pg_index x where x.indexrelid = ${objid}), ${owned(objid)})
    when 'pg_type'::regclass then
      (select case when t.typrelid <> 0 then ${owned('t.typrelid')} else e.typrelid end
       from pg_type t left join pg_type e on e.oid = t.typelem and e.typarray = t.oid where t.oid = ${objid})
    when 'pg_constraint'::regclass then (select k.conrelid from pg_constraint k where k.oid = ${objid})
    when 'pg_attrdef'::regclass then (select f.adrelid from pg_attrdef f where f.oid = ${objid})
    when 'pg_trigger'::regclass then (select g.tgrelid from pg_trigger g where g.oid = ${objid})
    when 'pg_rewrite'::regclass then (select w.ev_class from pg_rewrite w where w.oid = ${objid})
    when 'pg_policy'::regclass then (select p.polrelid from pg_policy p where p.oid = ${objid})
    when 'pg_statistic_ext'::regclass then (select s.stxrelid from pg_statistic_ext s where s.oid = ${objid})
    when 'pg_publication_rel'::regclass then (select b.prrelid from pg_publication_rel b where b.oid = ${objid})
  end`
}

const detail = `case d.classid
    when 'pg_class'::regclass then (select c.relkind::text from pg_class c where c.oid = d.objid)
    when 'pg_constraint'::regclass then (select k.contype::text from pg_constraint k where k.oid = d.objid)
    when 'pg_type'::regclass then (select t.typtype::text from pg_type t where t.oid = d.objid)
    when 'pg_attrdef'::regclass then
      (select a.attgenerated::text from pg_attrdef f join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
       where f.oid = d.objid)
    when 'pg_rewrite'::regclass then
      (select case when w.rulename = '_RETURN' then 'view' end from pg_rewrite w where w.oid = d.objid)
    when 'pg_trigger'::regclass then
      (select case when k.contype = 'f' then 'key'
                   when d.refclassid = 'pg_class'::regclass and g.tgconstrrelid = d.refobjid then 'from' end
       from pg_trigger g left join pg_constraint k on k.oid = g.tgconstraint where g.oid = d.objid)
    when 'pg_proc'::regclass then
      (select case when d.refclassid <> 'pg_type'::regclass then null
                   when p.prorettype = d.refobjid
                     or exists (select from unnest(p.proallargtypes, p.proargmodes) as u(type, mode)
                                where u.type = d.refobjid and u.mode in ('o', 't')) then 'returns'
                   when d.refobjid = any(p.proargtypes::oid[]) or d.refobjid = any(p.proallargtypes) then 'takes' end
       from pg_proc p where p.oid = d.objid)
  end`

/** An extension's members and a column's toast table are no dependants. */
const edgesSql = `
with recursive reached (classid, objid) as (
  select 'pg_class'::regclass::oid, u.oid from unnest($1::oid[]) as u(oid)
  union
  select next.classid, next.objid
  from reached r
  cross join lateral (
    select d.classid, d.objid
    from pg_depend d
    where d.refclassid = r.classid and d.refobjid = r.objid and d.deptype in ('n', 'a', 'i', 'P', 'S')
    union all
    select 'pg_class'::regclass::oid, w.ev_class
    from pg_rewrite w
    where r.classid = 'pg_rewrite'::regclass and w.oid = r.objid and w.rulename = '_RETURN'
  ) as next
  where not exists (select from pg_class c
                    where next.classid = 'pg_class'::regclass and c.oid = next.objid and c.relkind in ('r', 'p', 'f', 't'))
),
homes as materialized (select r.classid, r.objid, ${home('r.classid', 'r.objid')} as home from reached r),
edge as materialized (
  select d.*, ${home('d.classid', 'd.objid')} as home, h.home as refhome
  from homes h
  join pg_depend d on d.refclassid = h.classid and d.refobjid = h.objid and d.deptype in ('n', 'a', 'i', 'P', 'S')
  where not exists (select from pg_class c
                    where d.classid = 'pg_class'::regclass and c.oid = d.objid and c.relkind = 't')
)
select d.classid::regclass::text as class, d.objid::int8::float8 as oid, d.objsubid as column,
       coalesce(d.home, 0)::int8::float8 as home, coalesce(${detail}, '') as detail,
       d.refclassid::regclass::text as "refClass", d.refobjid::int8::float8 as "refOid",
       coalesce(d.refhome, 0)::int8::float8 as "refHome"
from edge d
where d.home is distinct from d.refhome or coalesce(d.home, 0) = 0
order by 1, 2, 3, 6, 7`
