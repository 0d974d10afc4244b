import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Session } from '../session.ts'

export interface Relation extends TableName {
  oid: number
  /** pg_class.relkind. */
  kind: string
  owner: string
  isPopulated: boolean
  rowSecurity: boolean
  forceRowSecurity: boolean
  isTemporary: boolean
  /** In a schema of ours: a stage, or tables kept for an undo. */
  isOurs: boolean
  extension: string | null
}

export async function readRelations(session: Session, oids: number[]): Promise<Map<number, Relation>> {
  const rows = await session.query<Relation>(
    `select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
            pg_get_userbyid(c.relowner)::text as owner, c.relispopulated as "isPopulated",
            c.relrowsecurity as "rowSecurity", c.relforcerowsecurity as "forceRowSecurity",
            c.relpersistence = 't' as "isTemporary", n.nspname ~ '^multiboard_sync' as "isOurs",
            (select e.extname::text from pg_depend d join pg_extension e on e.oid = d.refobjid
             where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.objsubid = 0
               and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e') as extension
     from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     where c.oid = any($1::oid[])
     order by n.nspname collate "C", c.relname collate "C"`,
    [oids],
  )
  return new Map(rows.map((row) => [row.oid, row]))
}

/** For people. */
export function nameIn(relations: ReadonlyMap<number, Relation>, oid: number): string {
  const relation = relations.get(oid)
  return relation === undefined ? `relation ${oid}` : formatTableName(relation)
}
