import { readDependentMatviews } from '../../postgres/matviews.ts'
import type { Session } from '../../postgres/session.ts'
import { refreshSql } from '../refresh-sql.ts'

/**
 * Refreshes the materialized views that read the tables, in an order in which each reads what is new; where they have a
 * unique index (PostgreSQL docs, REFRESH MATERIALIZED VIEW CONCURRENTLY), so that their readers need not wait.
 */
export async function refreshMatviews(session: Session, tableOids: number[]): Promise<void> {
  const views = await readDependentMatviews(session, tableOids)
  const quiet = await session.query<{ oid: number }>(REFRESHED_QUIETLY_SQL, [views.map(({ oid }) => oid)])
  const quietly = new Set(quiet.map(({ oid }) => oid))
  for (const view of views) {
    const how = quietly.has(view.oid) ? 'concurrently ' : ''
    await session.run(refreshSql(view, how))
  }
}

/** The changes go by way of a temporary table of the owner's. */
const REFRESHED_QUIETLY_SQL = `
select c.oid::int8::float8 as oid
from pg_class c
where c.oid = any ($1::oid[]) and has_database_privilege(c.relowner, current_database(), 'temp')
  and exists (
    select from pg_index x join pg_class i on i.oid = x.indexrelid join pg_am am on am.oid = i.relam and am.amname = 'btree'
    where x.indrelid = c.oid and x.indisunique and x.indimmediate and x.indisvalid
      and x.indpred is null and x.indexprs is null)`
