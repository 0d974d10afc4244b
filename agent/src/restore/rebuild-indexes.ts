import { quoteIdent } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'

interface PlainIndex {
  schema: string
  name: string
  definition: string
}

/**
 * Drops the tables' plain indexes, so that rows load without maintaining them; the returned function builds them again
 * from the server's own text. Only indexes that this text describes in full are touched: no constraint, no partition's
 * index, no replica identity, no CLUSTER mark, no comment, no statistics target, no tablespace of its own, no dependant, no extension that it is said to depend on.
 */
export async function dropIndexes(
  session: Session,
  tableOids: number[],
): Promise<(onBuilt: (index: string) => void) => Promise<void>> {
  const indexes = await session.query<PlainIndex>(PLAIN_INDEXES_SQL, [tableOids])
  for (const index of indexes) await session.run(`drop index ${quoteIdent(index.schema)}.${quoteIdent(index.name)}`)
  return async (onBuilt) => {
    for (const index of indexes) {
      await session.run(index.definition)
      onBuilt(index.name)
    }
  }
}

/** Condition over `i` (pg_index) and its `c` (pg_class): pg_get_indexdef() says all that there is to say. */
export const PLAIN_INDEX = `i.indisvalid and not i.indisexclusion and not i.indisclustered and not i.indisreplident
  and c.reltablespace = 0 and not c.relispartition
  and not exists (select from pg_catalog.pg_inherits h where c.oid in (h.inhrelid, h.inhparent))
  and not exists (
    select from pg_catalog.pg_description d where d.classoid = 'pg_catalog.pg_class'::regclass and d.objoid = c.oid)
  and not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = c.oid and coalesce(a.attstattarget, -1) >= 0)
  and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'x')
  and not exists (
    select from pg_catalog.pg_depend d where d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = c.oid)`

/** Oldest first, and so they are built again: a foreign key stands on the oldest unique index that has its columns. */
const PLAIN_INDEXES_SQL = `
select n.nspname as schema, c.relname as name, pg_catalog.pg_get_indexdef(c.oid) as definition
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where i.indrelid = any ($1::oid[]) and not i.indisprimary and ${PLAIN_INDEX}
  and not exists (select from pg_catalog.pg_constraint k where k.conindid = c.oid)
order by c.oid`
