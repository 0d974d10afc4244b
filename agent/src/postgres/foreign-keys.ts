import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { userSchemas } from './catalog.ts'
import type { Session } from './session.ts'

export interface ForeignKey {
  oid: number
  name: string
  /** The table that has the constraint. */
  tableOid: number
  table: TableName
  referencedOid: number
  referenced: TableName
  /** pg_get_constraintdef(): what follows `add constraint <name>`, with NOT VALID, DEFERRABLE, NOT ENFORCED. */
  definition: string
  /** The constraint of the partitioned table that this one follows; 0 when it stands for itself. */
  parentOid: number
  deferrable: boolean
  initiallyDeferred: boolean
  validated: boolean
  comment: string | null
}

interface ForeignKeyRow extends Omit<ForeignKey, 'table' | 'referenced'> {
  table: string[]
  referenced: string[]
}

/** All foreign keys of user tables, or of those in the given schemas, also those that partitions have from their parents; by table and name. */
export async function readForeignKeys(session: Session, schemas?: string[]): Promise<ForeignKey[]> {
  const rows = await session.query<ForeignKeyRow>(
    `
    select k.oid::int8::float8 as oid, k.conname::text as name,
           k.conrelid::int8::float8 as "tableOid", array[n.nspname, c.relname]::text[] as "table",
           k.confrelid::int8::float8 as "referencedOid", array[rn.nspname, r.relname]::text[] as referenced,
           pg_get_constraintdef(k.oid) as definition, k.conparentid::int8::float8 as "parentOid",
           k.condeferrable as deferrable, k.condeferred as "initiallyDeferred", k.convalidated as validated,
           obj_description(k.oid, 'pg_constraint') as comment
    from pg_constraint k
    join pg_class c on c.oid = k.conrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_class r on r.oid = k.confrelid
    join pg_namespace rn on rn.oid = r.relnamespace
    where k.contype = 'f' and ${schemas === undefined ? userSchemas : 'n.nspname = any ($1)'}
    order by n.nspname collate "C", c.relname collate "C", k.conname collate "C"`,
    schemas === undefined ? [] : [schemas],
  )
  return rows.map((row) => ({ ...row, table: tableName(row.table), referenced: tableName(row.referenced) }))
}

function tableName([schema = '', name = '']: string[]): TableName {
  return { schema, name }
}
