import { planQuery } from './prepare-query.ts'
import { preparedRead, type PreparedRead } from './query-all.ts'
import { quoteLiteral } from './quote.ts'
import type { Session } from './session.ts'

/*
 * Rows that COPY brought are not there for a transaction whose snapshot is older: such a reader would find the new tables
 * empty, without an error. The gate is asked under the swap's locks and names whoever could still be such a reader.
 *
 * Promises: nobody who could be one is missed, also for a role without rights to look into others' sessions. Somebody whose
 * snapshot is younger may be named as well while an older writing transaction is open anywhere: waiting is what helps.
 * Prepared transactions have no snapshot any more and cannot read; their locks are a matter of the lock time.
 */

export interface OldSnapshot {
  pid: number
  application: string
  /** How long its transaction is open; 0 where we may not know. */
  seconds: number
}

/** Call it after the last transaction that loaded rows has committed. xid8 as text. */
export async function readSnapshotMark(session: Session): Promise<string> {
  const [row] = await session.query<{ mark: string }>(
    'select pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text as mark',
  )
  if (row === undefined) throw new Error('a function answers one row')
  return row.mark
}

/**
 * Sessions of this database, other than this one, that may hold a snapshot from before the mark. Without a user are the
 * server's own processes (autovacuum), which read no table for anybody; VACUUM by hand cannot read either.
 */
export async function findOldSnapshots(session: Session, mark: string): Promise<OldSnapshot[]> {
  await session.query(forget)
  return await session.query<OldSnapshot>(oldSnapshotsSql(mark))
}

/** The same, planned now. */
export async function prepareOldSnapshots(session: Session, mark: string): Promise<PreparedRead<OldSnapshot[]>> {
  const execute = await planQuery(session, oldSnapshotsSql(mark))
  return preparedRead(session, [forget, execute], (rows) => rows as OldSnapshot[])
}

/** A transaction goes on seeing the sessions that it has seen first. */
const forget = 'select pg_catalog.pg_stat_clear_snapshot()'

function oldSnapshotsSql(mark: string): string {
  return `
select a.pid, coalesce(a.application_name, '') as application,
       coalesce(extract(epoch from pg_catalog.clock_timestamp() - a.xact_start), 0)::float8 as seconds
from pg_catalog.pg_stat_activity a
where a.datid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
  and a.pid <> pg_catalog.pg_backend_pid()
  and a.usesysid is not null
  and a.backend_xmin is not null
  and pg_catalog.age(a.backend_xmin) > pg_catalog.age((${quoteLiteral(mark)}::text::xid8)::xid)
  and a.pid not in (select v.pid from pg_catalog.pg_stat_progress_vacuum v)
order by a.pid`
}
