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
