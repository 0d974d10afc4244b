import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { lockRelations, type Locks } from '../../postgres/lock-relations.ts'
import { quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'

/** How long others may queue behind us for one try. */
export const LOCK_MS = 250
/** Who waits for one of our locks while we wait for one of its locks waits in vain: then this long at most. */
const BESIDE_LOCKS_MS = 50
/** PostgreSQL ends the one of two that has waited for deadlock_timeout: well before that we have given way. */
const DEADLOCK_SHARE = 0.4
/** Tries before everything that was prepared for the locks is prepared anew. */
const TRIES = 6
/** So that whoever has queued behind us gets done. */
const PAUSE_MS = 60

/**
 * ACCESS EXCLUSIVE on all of them, in the caller's transaction; answers when the first one was asked for (performance.now()).
 * Between the tries none of these locks is held. A reader of a view locks it before its tables; a transaction may also read
 * a table first and a view over it later. Whichever order is ours deadlocks with one of them, and so they take turns: the
 * first lock is queued for, what comes after it is not waited for long. Throws `lock-timeout`: then the transaction can only
 * be rolled back.
 */
export async function lockForMove(session: Session, locks: Omit<Locks, 'forMs'>, signal: AbortSignal): Promise<number> {
  const tables = { ...locks, views: [], materialized: [] }
  const views = { ...locks, tables: [] }
  const names = [...locks.views, ...locks.materialized, ...locks.tables].map(quoteTable)
  for (let n = 1; ; n += 1) {
    const deadlockMs = await giveWay(session, names)
    const [first, second] = n % 2 === 1 ? [tables, views] : [views, tables]
    await session.run('savepoint unlocked')
    try {
      const askedAtMs = performance.now()
      await lockRelations(session, { ...first, forMs: Math.min(LOCK_MS, deadlockMs * DEADLOCK_SHARE) })
      await lockRelations(session, { ...second, forMs: Math.min(BESIDE_LOCKS_MS, deadlockMs * DEADLOCK_SHARE) })
      return askedAtMs
    } catch (error) {
      if (n === TRIES || toSyncError(error).code !== 'lock-timeout') throw error
      await session.run('rollback to savepoint unlocked')
      await sleep(PAUSE_MS * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
      signal.throwIfAborted()
    }
  }
}

/**
 * The tables outside are locked against writers since their rows were checked. A writer that waits for one of them and
 * holds what we are about to ask for would be ended by the server as the victim of a deadlock: it came first, so the
 * attempt ends instead. Answers the server's deadlock_timeout.
 */
async function giveWay(session: Session, names: string[]): Promise<number> {
  const [row] = await session.query<{ waits: boolean; ms: number }>(GIVE_WAY_SQL, [names])
  if (row?.waits) {
    throw new SyncError('lock-timeout', 'A transaction that has written to the tables waits for one of them.', {
      hint: 'Try again when long transactions have ended.',
      retryable: true,
    })
  }
  return row?.ms ?? LOCK_MS / DEADLOCK_SHARE
}

const GIVE_WAY_SQL = `
with asked as materialized (
  select pg_catalog.to_regclass(name)::oid as oid from unnest($1::text[]) as t (name)
),
theirs as materialized (
  select l.pid, l.granted from pg_catalog.pg_locks l
  where l.locktype = 'relation' and l.relation in (select oid from asked) and l.pid <> pg_catalog.pg_backend_pid()
    and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
)
select exists (select from theirs w join theirs h on h.pid = w.pid where not w.granted and h.granted) as waits,
       (select setting::float8 from pg_catalog.pg_settings where name = 'deadlock_timeout') as ms`
