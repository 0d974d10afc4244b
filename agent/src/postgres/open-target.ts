import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readIdentity, type DatabaseIdentity } from './identity.ts'
import { openSession, type DatabaseUrl, type Session } from './session.ts'
import { tryLockTarget } from './target-lock.ts'

export interface Target extends AsyncDisposable {
  readonly database: DatabaseUrl
  readonly session: Session
  readonly identity: DatabaseIdentity
}

/**
 * Opens the database to be changed and takes the lock that only one agent can hold on it. PostgreSQL frees the lock
 * when the connection ends, however it ends. Throws `target-busy`, `database-read-only` and the session's errors.
 */
export async function openTarget(database: DatabaseUrl, signal: AbortSignal): Promise<Target> {
  const session = await openSession(database, { purpose: 'target', signal })
  try {
    const identity = await readIdentity(session)
    if (identity.isInRecovery || identity.isReadOnly) {
      throw new SyncError('database-read-only', `"${database.name}" does not accept writes.`, {
        hint: identity.isInRecovery
          ? 'It is a standby; name its primary.'
          : 'default_transaction_read_only is on for this role or database.',
      })
    }
    await lockTarget(session)
    return { database, session, identity, [Symbol.asyncDispose]: async () => await session.close() }
  } catch (error) {
    session.destroy()
    throw error
  }
}

/** The lock alone, for who only reads and must be alone in doing so. Throws `target-busy`. */
export async function lockTarget(session: Session): Promise<void> {
  if (await tryLockTarget(session)) return
  throw new SyncError('target-busy', `Another job is working on "${session.database}".`, {
    hint: 'Wait until it has ended, or cancel it.',
    retryable: true,
  })
}
