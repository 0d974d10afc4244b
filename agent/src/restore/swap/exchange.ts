import { rollBack } from '../roll-back.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Receipt } from '@multiboard-sync/shared/protocol'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { prepareDependencyPrint } from '../../postgres/dependency-print.ts'
import { prepareFingerprint, type Fingerprint } from '../../postgres/fingerprint.ts'
import type { Target } from '../../postgres/open-target.ts'
import { readWrites } from '../../postgres/written-rows.ts'
import { commit } from '../commit.ts'
import type { RestoreRun } from '../load.ts'
import { takeFence, writeReceipt } from '../receipt.ts'
import { validateKeys } from './after-swap.ts'
import type { Aside } from '../stage/aside.ts'
import type { Exchange, Exchanged } from './change.ts'
import { findWaitedFor, isContention, refuseOldSnapshots, type Tried } from './contention.ts'
import { move } from './move.ts'
import { prepareMove, type Prints } from './prepare-move.ts'

/*
 * The exchange: relations that stand aside, loaded and proven, become the live ones; the live ones are kept aside. One
 * transaction, tried again when others hold locks or old snapshots.
 *
 *   begin ─► fence ─► keys to and from outside proven ─► texts, prints, mark ─► receipt        nobody waits for these
 *         ─► ACCESS EXCLUSIVE ─► mark, gate ─► move ─► leaks, prints ─► deadline + commit       readers wait for these
 *
 * Promises: whoever reads sees the old tables or the new ones, whole; a reader whose snapshot is older than the new rows is
 * waited for, never shown an empty table; everything that pointed to the old tables points to the new ones, nothing to the
 * old ones, and all definitions are what they were. Whatever fails before the commit is rolled back by PostgreSQL.
 * Never: waits for a lock longer than a quarter of a second while others wait behind it (but once for a vacuum), uses
 * CASCADE, drops a row.
 */

/** The exchange itself takes milliseconds to seconds; a lease with less than this left is renewed before the locks. */
const MIN_LEASE_MS = 5_000
/** How long it waits, before any lock, for a control plane that is out of reach. */
const LEASE_WAIT_MS = 180_000
/** Between attempts, so that a reader that was in the way gets done. */
const FIRST_DELAY_MS = 200
const MAX_DELAY_MS = 5_000

/**
 * Throws, with the target as it was: `schema-changed`, `unsupported-object`, `constraint-violated`, `lock-timeout` or
 * `old-snapshot` after `lockAttempts` tries (details name the sessions), `fence-superseded`, `already-done`,
 * `lease-lost`, `permission-denied`; and `outcome-unknown`, when nobody can tell.
 */
export async function exchange(target: Target, change: Exchange, run: RestoreRun): Promise<Exchanged> {
  run.reporter.phase('swapping')
  const { session } = target
  // A key that an earlier swap has left NOT VALID promises nothing: it would come back so, and its rows would not be asked.
  await validateKeys(session)
  const prints: Prints = {
    definitions: await prepareFingerprint(session, { keys: 'unvalidated' }),
    dependencies: await prepareDependencyPrint(session),
  }
  const { done, attempts } = await attemptUntilDone(target, change, run, prints)
  await run.changed()

  const { receipt, previous, before, lockedMs } = done
  const lateWrites = await countLateWrites(target, change, done)
  run.reporter.event('swap.done', {
    locked_ms: Math.ceil(lockedMs),
    tables: change.tables.length,
    attempts,
    late_writes: lateWrites,
  })
  return { receipt, previous, lateWrites, fingerprint: before }
}

interface Done {
  receipt: Receipt
  previous: Aside
  before: Fingerprint
  lockedMs: number
  oids: number[]
  writes: number
}

async function attemptUntilDone(
  target: Target,
  change: Exchange,
  run: RestoreRun,
  prints: Prints,
): Promise<{ done: Done; attempts: number }> {
  const { session } = target
  const tried: Tried = { oids: [], hasBegun: false }
  for (let attempts = 1; ; attempts += 1) {
    try {
      return { done: await attemptOnce(target, change, run, prints, tried), attempts }
    } catch (thrown) {
      await rollBack(target.session)
      const error = toSyncError(thrown)
      // A cancel does not hide that nobody can tell what became of the commit.
      if (error.code === 'outcome-unknown') throw thrown
      run.signal.throwIfAborted()
      if (!isContention(error)) throw thrown
      const sessions = await findWaitedFor(session, error, change.snapshotMark, tried)
      run.reporter.event(
        'lock.waiting',
        { attempt: attempts, code: error.code, sessions: sessions.map((one) => ({ ...one })) },
        'warning',
      )
      if (attempts >= change.lockAttempts) {
        throw new SyncError(error.code, error.message, {
          hint: error.hint,
          retryable: true,
          cause: error,
          details: sessions.map(({ pid, application }) => `in the way: session ${pid} (${application})`),
        })
      }
      const ceilingMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempts - 1))
      await sleep(ceilingMs * (0.5 + Math.random() / 2), undefined, { signal: run.signal }).catch(() => undefined)
      run.signal.throwIfAborted()
    }
  }
}

async function attemptOnce(
  target: Target,
  change: Exchange,
  run: RestoreRun,
  prints: Prints,
  tried: Tried,
): Promise<Done> {
  const { session, database } = target
  const { job, epoch, archive } = change
  // Long before the locks: what waits for the control plane under them makes every reader wait.
  await refuseOldSnapshots(session, change.snapshotMark)
  await run.lease.waitUntilValid(MIN_LEASE_MS, LEASE_WAIT_MS, run.signal)
  if (!tried.hasBegun) {
    // Here and not right before the commit: a disk that takes its time would make every reader wait.
    await run.journal.record('committing', { target: database.name })
    run.changing()
    tried.hasBegun = true
  }
  await session.run('begin')
  const fence = await takeFence(session, { job, fence: change.fence, target: database.name })
  const prepared = await prepareMove(session, change, prints, tried)
  const engine = 'swap'
  await writeReceipt(session, {
    job,
    epoch,
    fence,
    target: database.name,
    archive,
    safetyBackup: change.safetyBackup,
    engine,
    tables: change.tables.length,
    names: change.tables,
    rows: change.rows,
    undoes: change.undoes,
    snapshotMark: change.snapshotMark,
  })
  const receipt: Receipt = { job, epoch, fence, archive, engine, committed_at: new Date().toISOString() }

  run.signal.throwIfAborted()
  const lockedAtMs = await move(session, change, prepared, run.signal)
  await commit(session, run.lease, job, database, run.signal)
  const { previous, before, writes } = prepared
  return { receipt, previous, before, writes, oids: prepared.oids, lockedMs: performance.now() - lockedAtMs }
}

/** The statistics collector is told of writes only after their commit, so this is asked as late as can be. */
async function countLateWrites(target: Target, change: Exchange, { oids, writes }: Done): Promise<number> {
  if (change.writesBefore === undefined) return 0
  let now = writes
  try {
    now = await readWrites(target.session, oids)
  } catch {
    // The commit's answer was lost with the connection: what was counted just before it is the best there is.
  }
  return Math.max(0, now - change.writesBefore)
}
