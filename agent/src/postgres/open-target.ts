import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { endBackend, type Backend } from './end-backend.ts'
import { readIdentity, type DatabaseIdentity } from './identity.ts'
import { openSession, type DatabaseUrl, type Session } from './session.ts'
import { tryLockTarget, waitForTargetLock } from './target-lock.ts'

/** A session that does not answer this within the time has lost its connection without being told. */
const PROBE_TIMEOUT_MS = 10_000

export interface Target extends AsyncDisposable {
  readonly database: DatabaseUrl
  /** Holds the lock. Not to be kept across work of minutes: stand() may put another in its place. */
  readonly session: Session
  readonly identity: DatabaseIdentity
  /**
   * Makes sure that the session stands and holds the lock; for a moment when it is in no transaction. One that broke is
   * opened again: what a job has made beside the live tables is still there, and still right, if nobody else has worked here
   * and the server has lost nothing. Throws `connection-lost` when the server was restarted or has crashed,
   * `fence-superseded` when another job holds the lock or has changed the target.
   */
  stand(signal: AbortSignal): Promise<void>
}

/**
 * Opens the database to be changed and takes the lock that only one agent can hold on it. PostgreSQL frees the lock
 * when the connection ends, however it ends. Throws `target-busy`, `database-read-only` and the session's errors.
 */
export async function openTarget(database: DatabaseUrl, signal: AbortSignal): Promise<Target> {
  let session = await openSession(database, { purpose: 'target', signal })
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
    const first = await readStanding(session)
    let now = first
    let standing: Promise<void> | undefined

    const stand = async (until: AbortSignal): Promise<void> => {
      if (await answers(session, until)) return
      const next = await openSession(database, { purpose: 'target', signal, patient: true })
      try {
        const found = await readStanding(next)
        if (found.server !== first.server) throw restarted(database.name)
        await endBackend(next, now, until)
        await takeLockAgain(next)
        if (await hasNewReceipt(next, first.at)) throw superseded()
        now = found
        session = next
      } catch (error) {
        next.destroy()
        throw error
      }
    }
    return {
      database,
      identity,
      get session() {
        return session
      },
      stand: async (until) => {
        standing ??= stand(until).finally(() => (standing = undefined))
        await standing
      },
      [Symbol.asyncDispose]: async () => await session.close(),
    }
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

interface Standing extends Backend {
  /** Another text after every restart and every crash: a crash recovery throws the statistics away. */
  server: string
  /** By the server's clock. */
  at: string
}

async function readStanding(session: Session): Promise<Standing> {
  const [row] = await session.query<Standing>(`
    select a.pid, a.backend_start::text as since, clock_timestamp()::text as at,
           pg_postmaster_start_time()::text || ', statistics of ' || coalesce(w.stats_reset::text, 'ever') as server
    from pg_catalog.pg_stat_activity a, pg_catalog.pg_stat_bgwriter w
    where a.pid = pg_backend_pid()`)
  if (row === undefined) throw new Error('pg_stat_activity does not know this session')
  return row
}

async function answers(session: Session, signal: AbortSignal): Promise<boolean> {
  const timer = setTimeout(() => session.destroy(), PROBE_TIMEOUT_MS)
  try {
    await session.query('select 1')
    return true
  } catch (error) {
    signal.throwIfAborted()
    if (toSyncError(error).code !== 'connection-lost') throw error
    session.destroy()
    return false
  } finally {
    clearTimeout(timer)
  }
}

/** Who looks for leftovers holds it for a moment; who holds it for longer is another job. */
async function takeLockAgain(session: Session): Promise<void> {
  try {
    await waitForTargetLock(session)
  } catch (error) {
    throw toSyncError(error).code === 'lock-timeout' ? superseded(error) : error
  }
}

async function hasNewReceipt(session: Session, since: string): Promise<boolean> {
  const [there] = await session.query<{ there: boolean }>(
    `select to_regclass('multiboard_sync.receipts') is not null as there`,
  )
  if (!there?.there) return false
  const [found] = await session.query<{ found: boolean }>(
    `select exists (select from multiboard_sync.receipts where committed_at > $1::timestamptz) as found`,
    [since],
  )
  return found?.found ?? false
}

function restarted(name: string): SyncError {
  return new SyncError('connection-lost', `The server of "${name}" was restarted, or has crashed, while the job ran.`, {
    hint: 'The target is as it was. Start the job again.',
  })
}

function superseded(cause?: unknown): SyncError {
  return new SyncError('fence-superseded', 'Another job took the target while the connection to it was broken.', {
    hint: 'Nothing was changed by this job. Look at the other one.',
    cause,
  })
}
