import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { userSchemas } from '../../postgres/catalog.ts'
import type { Session } from '../../postgres/session.ts'

/** Ordinary and partitioned tables, foreign tables, views, materialized views. */
type RelationKind = 'r' | 'p' | 'f' | 'v' | 'm'

export interface Relation extends TableName {
  oid: number
  kind: RelationKind
  /** False of a materialized view that was never refreshed: reading it is an error. */
  isReadable: boolean
  /** By pg_inherits: partitions and other heirs. */
  children: number[]
  /** Of a partition. */
  parent: number | null
  /** Of views: what they read. */
  reads: number[]
}

/** Everything that can be read from in the user's schemas: names, kinds, and what stands on what. */
export interface Relations {
  all: Relation[]
  byOid: ReadonlyMap<number, Relation>
  find: (table: TableName) => Relation | undefined
}

export async function readRelations(session: Session): Promise<Relations> {
  const all = await session.query<Relation>(RELATIONS_SQL)
  const byOid = new Map(all.map((relation) => [relation.oid, relation]))
  const byName = new Map(all.map((relation) => [`${relation.schema}\0${relation.name}`, relation]))
  return {
    all,
    byOid,
    find: ({ schema, name }) => byName.get(`${schema}\0${name}`),
  }
}

const RELATIONS_SQL = `
select c.oid::int8::float8 as oid, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind,
       c.relispopulated as "isReadable",
       array(select i.inhrelid::int8::float8 from pg_catalog.pg_inherits i where i.inhparent = c.oid) as children,
       (select i.inhparent::int8::float8 from pg_catalog.pg_inherits i
        where i.inhrelid = c.oid and c.relispartition) as parent,
       array(select distinct d.refobjid::int8::float8
             from pg_catalog.pg_rewrite w
             join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
               and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> w.ev_class
             where w.ev_class = c.oid and c.relkind in ('v', 'm')) as reads
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'v', 'm') and ${userSchemas}
order by n.nspname collate "C", c.relname collate "C"`

/** The relation and everything below it by inheritance. */
export function familyOf(relation: Relation, relations: Relations): Relation[] {
  return closure([relation], ({ children }) => children, relations)
}

/**
 * The tables whose rows reach the documents: what views read, all partitions and heirs, and the partitioned tables above,
 * so that a list of tables matches whether it names partitions or their parents. Sorted as relations are.
 */
export function tablesBehind(some: Relation[], relations: Relations): Relation[] {
  const below = closure(some, ({ children, reads }) => [...children, ...reads], relations)
  const seen = new Set(closure(below, ({ parent }) => (parent === null ? [] : [parent]), relations))
  return relations.all.filter((relation) => seen.has(relation) && relation.kind !== 'v' && relation.kind !== 'm')
}

function closure(some: Relation[], next: (relation: Relation) => number[], { byOid }: Relations): Relation[] {
  const seen = new Set(some)
  // A set that grows while it is walked is walked to its end.
  for (const relation of seen) {
    for (const oid of next(relation)) {
      const found = byOid.get(oid)
      if (found) seen.add(found)
    }
  }
  return [...seen]
}

export function nameOf({ schema, name }: TableName): TableName {
  return { schema, name }
}

export function neverRefreshed(relation: TableName): string {
  return `the materialized view ${formatTableName(relation)} was never filled: refresh it.`
}
