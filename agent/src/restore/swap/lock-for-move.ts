import { setTimeout as sleep } from 'node:timers/promises'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { lockRelations, type Locks } from '../../postgres/lock-relations.ts'
import type { Session } from '../../postgres/session.ts'

/** How long others may queue behind us for one try. Below deadlock_timeout: whoever gives way is we. */
export const LOCK_MS = 250
/** Who waits for one of our locks while we wait for one of its locks waits in vain: then this long at most. */
const BESIDE_LOCKS_MS = 50
/** Tries before everything that was prepared for the locks is prepared anew. */
const TRIES = 6
/** So that whoever has queued behind us gets done. */
const PAUSE_MS = 60

/**
 * ACCESS EXCLUSIVE on all of them, in the caller's transaction; answers when the last one was asked for. Between the tries
 * no lock is held. A reader of a view locks it before its tables; a transaction may also read a table first and a view
 * over it later. Whichever order is ours deadlocks with one of them, and so they take turns: the first lock is queued for,
 * what comes after it is not waited for long. Throws `lock-timeout`: then the transaction can only be rolled back.
 */
export async function lockForMove(session: Session, locks: Omit<Locks, 'forMs'>, signal: AbortSignal): Promise<number> {
  const tables = { ...locks, views: [], materialized: [] }
  const views = { ...locks, tables: [] }
  for (let n = 1; ; n += 1) {
    const [first, second] = n % 2 === 1 ? [tables, views] : [views, tables]
    await session.run('savepoint unlocked')
    try {
      const askedAtMs = performance.now()
      await lockRelations(session, { ...first, forMs: LOCK_MS })
      await lockRelations(session, { ...second, forMs: BESIDE_LOCKS_MS })
      return askedAtMs
    } catch (error) {
      if (n === TRIES || toSyncError(error).code !== 'lock-timeout') throw error
      await session.run('rollback to savepoint unlocked')
      await sleep(PAUSE_MS * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined)
      signal.throwIfAborted()
    }
  }
}
