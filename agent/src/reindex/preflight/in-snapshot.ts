import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../../postgres/session.ts'

/** Works in the transaction that the session is in, or else in a read-only snapshot of its own. */
export async function inSnapshot<T>(session: Session, work: () => Promise<T>): Promise<T> {
  if (isInTransaction(session)) return await work()
  await session.run('begin isolation level repeatable read read only')
  try {
    return await work()
  } finally {
    // On a connection that is gone there is nothing to roll back, and the error that says so is on its way.
    if (isInTransaction(session)) await session.run('rollback')
  }
}

/** Idle, or no longer connected: neither in a transaction nor in one that has failed. */
function isInTransaction(session: Session): boolean {
  return ['T', 'E'].includes(session.client.getTransactionStatus() ?? '')
}

/** These mean that the session or the job is gone, whatever was asked. */
const FATAL = new Set(['canceled', 'connection-lost', 'internal', 'lease-lost'])

/** Work whose failure is a finding and leaves the transaction usable. Throws what ends the session or the job. */
export async function tried<T>(
  session: Session,
  work: () => Promise<T>,
): Promise<{ ok: true; value: T } | { ok: false; error: SyncError }> {
  await session.run('savepoint multiboard_sync_look')
  try {
    const value = await work()
    await session.run('release savepoint multiboard_sync_look')
    return { ok: true, value }
  } catch (error) {
    if (!(error instanceof SyncError) || FATAL.has(error.code)) throw error
    await session.run('rollback to savepoint multiboard_sync_look')
    return { ok: false, error }
  }
}
