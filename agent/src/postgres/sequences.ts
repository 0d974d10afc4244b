import { userSchemas } from './catalog.ts'
import type { Session } from './session.ts'

export interface Sequence {
  oid: number
  schema: string
  name: string
  /** The table whose column owns it (serial, identity, OWNED BY); null for one that stands for itself. */
  tableOid: number | null
  columnName: string | null
}

/** All sequences of user schemas but those of extensions, by schema and name. */
export async function readSequences(session: Session): Promise<Sequence[]> {
  return await session.query<Sequence>(`
    select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name,
           owner.refobjid::int8::float8 as "tableOid", a.attname::text as "columnName"
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_depend owner on owner.classid = 'pg_class'::regclass and owner.objid = c.oid
      and owner.refclassid = 'pg_class'::regclass and owner.refobjsubid > 0 and owner.deptype in ('a', 'i')
    left join pg_attribute a on a.attrelid = owner.refobjid and a.attnum = owner.refobjsubid
    where c.relkind = 'S' and ${userSchemas}
      and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')
    order by n.nspname collate "C", c.relname collate "C"`)
}

interface SharedSequence {
  oid: number
  schema: string
  name: string
  owner: string
  counts: 'up' | 'down'
}

/**
 * Sequences that these tables own or count with, and that something else counts with too: a default of another table, a view
 * or a function of which PostgreSQL knows it. Whoever moves one of them back makes the others count again what they have.
 */
export async function readSharedSequences(session: Session, tableOids: number[]): Promise<SharedSequence[]> {
  return await session.query<SharedSequence>(
    `
    select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name,
           pg_get_userbyid(c.relowner)::text as owner, case when s.seqincrement > 0 then 'up' else 'down' end as counts
    from pg_sequence s
    join pg_class c on c.oid = s.seqrelid
    join pg_namespace n on n.oid = c.relnamespace
    where ${userSchemas}
      and exists (
        select from pg_depend d
        where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.deptype = 'n' and (
          d.classid in ('pg_proc'::regclass, 'pg_rewrite'::regclass, 'pg_type'::regclass)
          or d.classid = 'pg_attrdef'::regclass and exists (
            select from pg_attrdef f
            join pg_class t on t.oid = f.adrelid
            join pg_namespace h on h.oid = t.relnamespace
            where f.oid = d.objid and t.oid <> all ($1::oid[]) and ${userSchemas.replaceAll('n.nspname', 'h.nspname')})))
      and (
        exists (
          select from pg_depend o
          where o.classid = 'pg_class'::regclass and o.objid = c.oid and o.refclassid = 'pg_class'::regclass
            and o.refobjid = any ($1::oid[]) and o.refobjsubid > 0 and o.deptype in ('a', 'i'))
        or exists (
          select from pg_depend d join pg_attrdef f on f.oid = d.objid and f.adrelid = any ($1::oid[])
          where d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.classid = 'pg_attrdef'::regclass))
    order by n.nspname collate "C", c.relname collate "C"`,
    [tableOids],
  )
}
