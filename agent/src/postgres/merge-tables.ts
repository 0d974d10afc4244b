import { storedColumns, type TableInfo } from './catalog.ts'
import type { Session } from './session.ts'

/** A column of a primary key, as rows are matched by it. */
export interface MatchColumn {
  name: string
  /** The key's own equality: `operator(public.=)` for citext. */
  operator: string
  /** True when equal values are the same bytes: such a column never changes on a row that stays. */
  isExact: boolean
}

/** What merging has to know of a table that the catalogue's common facts do not say. */
export interface MergeTable {
  table: TableInfo
  /** The primary key's constraint; null without one. */
  keyName: string | null
  /** Empty without a primary key, and for one whose equality is not that of a B-tree. */
  key: MatchColumn[]
  /** A unique index or an exclusion constraint beside the primary key: its values may move from row to row. */
  hasFurtherKeys: boolean
  /** A column GENERATED ALWAYS AS IDENTITY outside the primary key: no UPDATE may set it. */
  hasFixedColumn: boolean
  /** Columns GENERATED ALWAYS AS IDENTITY. */
  fixed: string[]
  /** Names of rules that fire for what is written. */
  rules: string[]
  /** Its changes are published, and no replica identity tells a subscriber which row is meant. */
  isPublishedWithoutIdentity: boolean
}

type Row = Omit<MergeTable, 'table' | 'hasFixedColumn' | 'fixed'> & { oid: number }

/** In the order of `tables`. */
export async function readMergeTables(session: Session, tables: TableInfo[]): Promise<MergeTable[]> {
  const rows = await session.query<Row>(MERGE_TABLES_SQL, [tables.map(({ oid }) => oid)])
  const byOid = new Map(rows.map((row) => [row.oid, row]))
  return tables.flatMap((table) => {
    const row = byOid.get(table.oid)
    if (!row) return []
    const fixed = storedColumns(table.columns).flatMap(({ identity, name }) => (identity === 'a' ? [name] : []))
    return [{ ...row, table, fixed, hasFixedColumn: fixed.some((name) => !table.primaryKey.includes(name)) }]
  })
}

/** Support function 4 of a B-tree operator class says whether equal is the same (PostgreSQL docs, "B-Tree Support Functions"). */
const MERGE_TABLES_SQL = `
select c.oid::int8::float8 as oid,
  (select i.relname::text from pg_index x join pg_class i on i.oid = x.indexrelid
   where x.indrelid = c.oid and x.indisprimary) as "keyName",
  coalesce((
    select json_agg(json_build_object(
             'name', a.attname,
             'operator', format('operator(%I.%s)', n.nspname, o.oprname),
             'isExact', exists (
               select from pg_amproc p
               where p.amprocfamily = oc.opcfamily and p.amproclefttype = oc.opcintype and p.amprocrighttype = oc.opcintype
                 and p.amprocnum = 4
                 and (p.amproc = 'pg_catalog.btequalimage'::regproc
                   or p.amproc = 'pg_catalog.btvarstrequalimage'::regproc
                     and exists (select from pg_collation co where co.oid = k.colloid and co.collisdeterministic)))
           ) order by k.place)
    from pg_index x
    join pg_class i on i.oid = x.indexrelid
    join pg_am am on am.oid = i.relam and am.amname = 'btree'
    cross join lateral unnest(x.indkey::int2[], x.indclass::oid[], x.indcollation::oid[])
      with ordinality as k(attnum, opclass, colloid, place)
    join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
    join pg_opclass oc on oc.oid = k.opclass
    join pg_amop m on m.amopfamily = oc.opcfamily and m.amoplefttype = oc.opcintype and m.amoprighttype = oc.opcintype
      and m.amopstrategy = 3
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    where x.indrelid = c.oid and x.indisprimary and k.place <= x.indnkeyatts), '[]') as key,
  exists (select from pg_index x
          where x.indrelid = c.oid and not x.indisprimary and (x.indisunique or x.indisexclusion)) as "hasFurtherKeys",
  array(select r.rulename::text from pg_rewrite r
        where r.ev_class = c.oid and r.ev_type <> '1' and r.ev_enabled in ('O', 'A') order by 1) as rules,
  (c.relreplident = 'n'
    or c.relreplident = 'i' and not exists (select from pg_index x where x.indrelid = c.oid and x.indisreplident))
  and exists (select from pg_publication_tables pt
              join pg_publication p on p.pubname = pt.pubname and (p.pubupdate or p.pubdelete)
              join pg_namespace n on n.oid = c.relnamespace
              where pt.schemaname = n.nspname and pt.tablename = c.relname) as "isPublishedWithoutIdentity"
from pg_class c
where c.oid = any ($1::oid[])`
