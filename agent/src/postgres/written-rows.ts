import type { Session } from './session.ts'

/**
 * Rows inserted, updated and deleted in these tables since the server's statistics began, as far as sessions have reported
 * them: they do so when their transaction ends, at most once a second. A difference of two readings is a close estimate.
 */
export async function readWrites(session: Session, oids: number[]): Promise<number> {
  // A transaction goes on seeing the counters that it has seen first.
  await session.query('select pg_catalog.pg_stat_clear_snapshot()')
  const [row] = await session.query<{ writes: number }>(
    `select coalesce(sum(pg_catalog.pg_stat_get_tuples_inserted(t.oid) + pg_catalog.pg_stat_get_tuples_updated(t.oid)
                         + pg_catalog.pg_stat_get_tuples_deleted(t.oid)), 0)::float8 as writes
     from unnest($1::oid[]) as t(oid)`,
    [oids],
  )
  return row?.writes ?? 0
}
