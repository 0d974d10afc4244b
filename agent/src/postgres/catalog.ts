import type { Column } from '@multiboard-sync/shared/manifest'
import { quoteIdent } from './quote.ts'
import type { Session } from './session.ts'

/*
 * What tables there are. Reads pg_catalog only, in two queries however many tables there are.
 *
 * Promises: user schemas only (never pg_*, information_schema, multiboard_sync*); dropped columns are absent; names are as
 * they are, unquoted. Never: reads a row of a user's table.
 */

export interface TableInfo {
  oid: number
  schema: string
  name: string
  /** Ordinary, partitioned, foreign, materialized view. */
  kind: 'r' | 'p' | 'f' | 'm'
  /** Permanent, unlogged. */
  persistence: 'p' | 'u'
  isPartition: boolean
  /** Of a partition; null for all others, also for children by INHERITS. */
  parentOid: number | null
  /** Parents by INHERITS; a partition's parent is not among them. */
  inheritsOids: number[]
  /** True where COPY finds rows of the table's own: ordinary tables and leaf partitions. */
  isLeaf: boolean
  /** In the table's order. */
  columns: Column[]
  /** Column names in the key's order; empty without a primary key. */
  primaryKey: string[]
  /** Bytes of the main fork, without indexes and TOAST. */
  heapBytes: number
  /** Bytes with TOAST, without indexes: nearer to what COPY will send. */
  tableBytes: number
  /** The planner's; 0 when it was never analysed. */
  estimatedRows: number
  /** The extension that owns it. */
  extension: string | null
  owner: string
  rowSecurity: boolean
  forceRowSecurity: boolean
}

/** Schemas that are a user's, in SQL over `n` (pg_namespace). Temporary and TOAST schemas begin with pg_ too. */
export const userSchemas = `n.nspname !~ '^(pg_|multiboard_sync)' and n.nspname <> 'information_schema'`

/** All tables, foreign tables and materialized views, sorted by schema and name (by bytes). */
export async function readTables(session: Session): Promise<TableInfo[]> {
  const tables = await session.query<Omit<TableInfo, 'columns' | 'isLeaf'>>(tablesSql)
  const columns = await session.query<{ oid: number; columns: Column[] }>(columnsSql)
  const columnsOf = new Map(columns.map((row) => [row.oid, row.columns]))
  return tables.map((table) => ({
    ...table,
    isLeaf: table.kind === 'r',
    columns: columnsOf.get(table.oid) ?? [],
  }))
}

const tablesSql = `
select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name,
       c.relkind::text as kind, c.relpersistence::text as persistence, c.relispartition as "isPartition",
       (select i.inhparent::int8::float8 from pg_inherits i where i.inhrelid = c.oid and c.relispartition) as "parentOid",
       array(select i.inhparent::int8::float8 from pg_inherits i
             where i.inhrelid = c.oid and not c.relispartition order by i.inhseqno) as "inheritsOids",
       array(select a.attname::text
             from pg_index x
             cross join lateral unnest(x.indkey::int2[]) with ordinality as k(attnum, place)
             join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
             where x.indrelid = c.oid and x.indisprimary and k.place <= x.indnkeyatts
             order by k.place) as "primaryKey",
       coalesce(pg_relation_size(c.oid, 'main'), 0)::float8 as "heapBytes",
       coalesce(pg_table_size(c.oid), 0)::float8 as "tableBytes",
       greatest(c.reltuples, 0)::float8 as "estimatedRows",
       (select e.extname::text from pg_depend d join pg_extension e on e.oid = d.refobjid
        where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.objsubid = 0
          and d.refclassid = 'pg_extension'::regclass and d.deptype = 'e') as extension,
       pg_get_userbyid(c.relowner)::text as owner,
       c.relrowsecurity as "rowSecurity", c.relforcerowsecurity as "forceRowSecurity"
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'm') and ${userSchemas}
order by n.nspname collate "C", c.relname collate "C"`

const columnsSql = `
select a.attrelid::int8::float8 as oid,
       json_agg(json_build_object(
         'name', a.attname,
         'type', format_type(a.atttypid, a.atttypmod),
         'not_null', a.attnotnull,
         'has_default', a.atthasdef and a.attgenerated = '',
         'generated', a.attgenerated::text,
         'identity', a.attidentity::text
       ) order by a.attnum) as columns
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'm') and ${userSchemas} and a.attnum > 0 and not a.attisdropped
group by a.attrelid`

/** The columns whose values travel: all but the generated ones. */
export function storedColumns(columns: Column[]): Column[] {
  return columns.filter((column) => column.generated === '')
}

/** `("a", "B")` for both directions of COPY, without generated columns; '' when there are none. */
export function copyColumns(columns: Column[]): string {
  const names = storedColumns(columns).map((column) => quoteIdent(column.name))
  return names.length === 0 ? '' : `(${names.join(', ')})`
}
