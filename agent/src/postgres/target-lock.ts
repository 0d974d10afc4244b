import type { Session } from './session.ts'

/** Two halves of one key, so that no application's own advisory lock is met by chance ("mbs1", "sync"). */
const LOCK_KEYS = [0x6d627331, 0x73796e63]

/**
 * Takes the session-level lock that only one agent can hold on a database; false when another holds it. PostgreSQL
 * frees it when the connection ends, however it ends.
 */
export async function tryLockTarget(session: Session): Promise<boolean> {
  const [row] = await session.query<{ locked: boolean }>('select pg_try_advisory_lock($1, $2) as locked', LOCK_KEYS)
  return row?.locked ?? false
}

/** Waits for the lock, at most the session's lock_timeout. Throws `lock-timeout`. */
export async function waitForTargetLock(session: Session): Promise<void> {
  await session.query('select pg_advisory_lock($1, $2)', LOCK_KEYS)
}

/**
 * True when the server of `session` is the one on which `holder` has the lock, whatever either is called: pg_locks shows
 * every lock of a server and of no other.
 */
export async function seesTargetLock(session: Session, holder: Session): Promise<boolean> {
  const [row] = await session.query<{ seen: boolean }>(
    `select exists (
       select from pg_catalog.pg_locks
       where locktype = 'advisory' and granted and pid = $1 and classid = $2::oid and objid = $3::oid
     ) as seen`,
    [holder.backendPid, ...LOCK_KEYS],
  )
  return row?.seen ?? true
}
