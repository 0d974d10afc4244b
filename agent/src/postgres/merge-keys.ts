import type { TableInfo } from './catalog.ts'
import { readForeignKeys, type ForeignKey } from './foreign-keys.ts'
import type { Session } from './session.ts'

/** A foreign key as far as rows are concerned. */
export interface MergeKey extends ForeignKey {
  /** pg_constraint.confupdtype and confdeltype: no action, restrict, cascade, set null, set default. */
  onUpdate: string
  onDelete: string
  /** False for NOT ENFORCED (18). */
  isEnforced: boolean
  /** With PERIOD (18): a reference is more than equality. */
  hasPeriod: boolean
  tableKind: 'r' | 'p'
  /** Bytes that the server reads for every row referred to that goes; 0 where an index leads to those that refer to it. */
  scanBytes: number
  columns: ReferringColumn[]
}

interface ReferringColumn {
  name: string
  referenced: string
  /** Referenced column on the left, as the server itself compares them. */
  operator: string
  /** ` collate "pg_catalog"."C"` of the referenced column where both differ; else ''. */
  collation: string
}

/** Of tables and their partitioned ancestors: what a foreign key may be declared on to concern the table. */
export function lineages(tables: TableInfo[], oids: number[]): Map<number, Set<number>> {
  const parentOf = new Map(tables.map(({ oid, parentOid }) => [oid, parentOid]))
  return new Map(
    oids.map((oid) => {
      const line = new Set<number>()
      for (let one: number | null | undefined = oid; one !== null && one !== undefined; one = parentOf.get(one)) {
        line.add(one)
      }
      return [oid, line]
    }),
  )
}

/** The foreign keys from and to any of `lineage`, but those that partitions have from their parents. */
export async function readMergeKeys(session: Session, lineage: Set<number>): Promise<MergeKey[]> {
  const keys = (await readForeignKeys(session)).filter(
    (key) => key.parentOid === 0 && (lineage.has(key.tableOid) || lineage.has(key.referencedOid)),
  )
  const facts = await session.query<Omit<MergeKey, keyof ForeignKey> & { oid: number }>(KEY_FACTS_SQL, [
    keys.map(({ oid }) => oid),
  ])
  const byOid = new Map(facts.map((fact) => [fact.oid, fact]))
  return keys.flatMap((key) => {
    const fact = byOid.get(key.oid)
    return fact ? [{ ...fact, ...key }] : []
  })
}

/** By way of JSON, because 13 to 17 lack two of the columns. */
const KEY_FACTS_SQL = `
select k.oid::int8::float8 as oid, k.confupdtype::text as "onUpdate", k.confdeltype::text as "onDelete",
       coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true) as "isEnforced",
       coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false) as "hasPeriod",
       t.relkind::text as "tableKind",
       case when exists (
         select from pg_index x
         where x.indrelid = t.oid and x.indisvalid and x.indpred is null and x.indkey[0] = any (k.conkey)) then 0
       else (
         with recursive tree (oid) as (
           select t.oid
           union all
           select i.inhrelid from tree join pg_inherits i on i.inhparent = tree.oid where t.relkind = 'p')
         select coalesce(sum(pg_relation_size(tree.oid)), 0) from tree) end::float8 as "scanBytes",
       (select json_agg(json_build_object(
                 'name', a.attname, 'referenced', r.attname,
                 'operator', format('operator(%I.%s)', opn.nspname, o.oprname),
                 'collation', case when a.attcollation <> r.attcollation and co.oid is not null
                   then format(' collate %I.%I', con.nspname, co.collname) else '' end
               ) order by u.place)
        from unnest(k.conkey, k.confkey, k.conpfeqop) with ordinality as u(key, fkey, op, place)
        join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.key
        join pg_attribute r on r.attrelid = k.confrelid and r.attnum = u.fkey
        join pg_operator o on o.oid = u.op
        join pg_namespace opn on opn.oid = o.oprnamespace
        left join pg_collation co on co.oid = r.attcollation
        left join pg_namespace con on con.oid = co.collnamespace) as columns
from pg_constraint k
join pg_class t on t.oid = k.conrelid
where k.oid = any ($1::oid[])`
