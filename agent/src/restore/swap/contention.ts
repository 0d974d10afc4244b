import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../../postgres/session.ts'
import { findOldSnapshots, type OldSnapshot } from '../../postgres/snapshot-gate.ts'

const SESSIONS_MAX = 10

/** What the attempts of one exchange know of each other. */
export interface Tried {
  /** The relations whose locks were asked for last. */
  oids: number[]
  /** A transaction that changes the target was begun, and the journal says so. */
  hasBegun: boolean
}

interface Waited {
  pid: number
  application: string
}

/** True for what passes by itself: the attempt is made again. */
export function isContention(error: SyncError): boolean {
  return (
    error.code === 'lock-timeout' ||
    error.code === 'old-snapshot' ||
    (error.code === 'schema-changed' && error.retryable)
  )
}

/**
 * A transaction whose snapshot is older than the new rows would find the new tables empty, without any error: they are
 * not swapped in before it ends. Throws `old-snapshot`.
 */
export async function refuseOldSnapshots(session: Session, mark: string): Promise<void> {
  refuseSnapshots(await findOldSnapshots(session, mark))
}

/** Throws `old-snapshot` when there is one. */
export function refuseSnapshots(old: OldSnapshot[]): void {
  if (old.length === 0) return
  throw new SyncError('old-snapshot', 'Transactions that began before the new rows were loaded are still open.', {
    hint: 'Nothing was changed. End the sessions named here, or try again when they have ended.',
    retryable: true,
  })
}

/** Whom an attempt has waited for in vain. Asked after its rollback, so some may have ended since. Never their queries. */
export async function findWaitedFor(session: Session, error: SyncError, mark: string, tried: Tried): Promise<Waited[]> {
  if (error.code === 'old-snapshot') {
    const old = await findOldSnapshots(session, mark)
    return old.slice(0, SESSIONS_MAX).map(({ pid, application }) => ({ pid, application }))
  }
  return await session.query<Waited>(HOLDERS_SQL, [tried.oids, SESSIONS_MAX])
}

/** A prepared transaction holds locks without a session: it has no pid. */
const HOLDERS_SQL = `
select distinct coalesce(l.pid, 0) as pid,
       case when l.pid is null then 'a prepared transaction'
            when a.backend_type = 'autovacuum worker' then a.backend_type
            else coalesce(a.application_name, '') end as application
from pg_catalog.pg_locks l
left join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.locktype = 'relation' and l.granted and l.relation::int8::float8 = any ($1)
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and l.pid is distinct from pg_catalog.pg_backend_pid()
order by 1
limit $2`
