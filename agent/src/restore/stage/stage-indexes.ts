import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteIdent, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { PLAIN_INDEX } from '../rebuild-indexes.ts'

/** An index of a staged table that is dropped for the load and built again from the server's own text. */
export interface StageIndex {
  tableOid: number
  schema: string
  table: string
  name: string
  /** btree, gin, … */
  method: string
  /** pg_get_indexdef(): names the stage. */
  definition: string
  /** Of the primary key or unique constraint of the same name; null for a plain index. */
  constraint: 'p' | 'u' | null
  deferrable: boolean
  initiallyDeferred: boolean
}

/**
 * The tables' indexes that this text describes in full: plain ones as dropIndexes() takes them, and those of primary keys
 * and unique constraints that are as plain. All others stay while rows are loaded: that is slower, and right.
 */
export async function readStageIndexes(session: Session, tableOids: number[]): Promise<StageIndex[]> {
  return await session.query<StageIndex>(indexesSql(session.serverVersion), [tableOids])
}

/** What the planner knows of the size of an index and its table. */
export interface IndexSize extends TableName {
  /** 0 where it knows nothing. */
  indexPages: number
  tablePages: number
}

/** Of the live tables' indexes, in these schemas. Asks no file and no lock. */
export async function readIndexSizes(session: Session, schemas: string[]): Promise<IndexSize[]> {
  return await session.query<IndexSize>(
    `select n.nspname::text as schema, c.relname::text as name,
            greatest(c.relpages, 0)::float8 as "indexPages", greatest(t.relpages, 0)::float8 as "tablePages"
     from pg_catalog.pg_index i
     join pg_catalog.pg_class c on c.oid = i.indexrelid
     join pg_catalog.pg_class t on t.oid = i.indrelid
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where n.nspname = any ($1)`,
    [schemas],
  )
}
export function dropSql(index: StageIndex): string {
  const { schema, table, name, constraint } = index
  if (constraint === null) return `drop index ${quoteTable({ schema, name })} restrict`
  return `alter table ${quoteTable({ schema, name: table })} drop constraint ${quoteIdent(name)} restrict`
}

/** Makes the constraint of the index that stands; none for a plain one. Takes no time. */
export function constraintSql(index: StageIndex): string[] {
  const { schema, table, name, constraint } = index
  if (constraint === null) return []
  const kind = constraint === 'p' ? 'primary key' : 'unique'
  const deferral = index.deferrable ? ` deferrable initially ${index.initiallyDeferred ? 'deferred' : 'immediate'}` : ''
  const [on, quoted] = [quoteTable({ schema, name: table }), quoteIdent(name)]
  return [`alter table ${on} add constraint ${quoted} ${kind} using index ${quoted}${deferral}`]
}

function indexesSql(version: number): string {
  return `
select i.indrelid::int8::float8 as "tableOid", n.nspname::text as schema, t.relname::text as table, c.relname::text as name,
       pg_catalog.pg_get_indexdef(c.oid) as definition, m.amname::text as method, k.contype::text as constraint,
       coalesce(k.condeferrable, false) as deferrable, coalesce(k.condeferred, false) as "initiallyDeferred"
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_class t on t.oid = i.indrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_am m on m.oid = c.relam
left join pg_catalog.pg_constraint k on k.conindid = c.oid and k.conrelid = t.oid and k.contype in ('p', 'u', 'x')
where i.indrelid = any ($1::oid[]) and ${PLAIN_INDEX}
  and (k.oid is null
    or k.contype in ('p', 'u') and k.conname = c.relname${version >= 180_000 ? ' and not k.conperiod' : ''}
      and k.conparentid = 0
      and not exists (
        select from pg_catalog.pg_description d
        where d.classoid = 'pg_catalog.pg_constraint'::regclass and d.objoid = k.oid)
      -- A view that groups by the key, a foreign key, and whatever else needs it.
      and not exists (
        select from pg_catalog.pg_depend d
        where d.refclassid = 'pg_catalog.pg_constraint'::regclass and d.refobjid = k.oid
          and not (d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid)))
order by 2, 3, 4`
}
