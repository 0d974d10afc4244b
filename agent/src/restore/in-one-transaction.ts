import { rollBack } from './roll-back.ts'
import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { retry } from '@multiboard-sync/shared/retry'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { Target } from '../postgres/open-target.ts'
import { quoteTable } from '../postgres/quote.ts'
import { commit } from './commit.ts'
import { create } from './create.ts'
import { findTables } from './find-tables.ts'
import type { Load, Restored, RestoreRun } from './load.ts'
import { proveTables } from './prove.ts'
import { takeFence, writeReceipt } from './receipt.ts'
import { truncate } from './truncate.ts'

/*
 * The engines create and truncate: an archive becomes a target's tables in ONE transaction on ONE connection.
 *
 *   begin ─► lock ─► fence ─► engine (create | truncate) ─► analyze ─► prove ─► receipt ─► lease ─► deadline + commit
 *
 * Promises: until the commit nobody sees anything of it, and whatever ends it early (an error, a cancel, kill -9, a cut
 * cable) PostgreSQL itself puts everything back. After the commit the receipt says so, in the target.
 * Never: uses CASCADE on what was there before, commits without proof and receipt, commits after the lease has run out
 * by the target's clock.
 */

/** The commit itself takes milliseconds; a lease with less than this left is renewed first. */
const MIN_LEASE_MS = 5_000
/** How long the finished load waits, holding its locks, for a control plane that is out of reach. */
const LEASE_WAIT_MS = 180_000

/** Throws what its steps throw, after the rollback. Answers the receipt and the proof once it is committed. */
export async function restoreInOneTransaction(target: Target, load: Load, run: RestoreRun): Promise<Restored> {
  const safetyBackup = await load.protect(run.signal)
  // Readers of the safety backup hold locks on the live tables.
  await load.lanes.rest()
  run.changing()
  const restored = await replace(target, load, run, safetyBackup)
  await run.changed()
  return restored
}

async function replace(
  target: Target,
  load: Load,
  run: RestoreRun,
  safetyBackup: string | undefined,
): Promise<Restored> {
  const { session, database } = target
  try {
    const fence = await begin(target, load, run)
    const tables = await (load.engine === 'create' ? create : truncate)(session, load, run.reporter, run.signal)
    await session.run(`analyze ${tables.map(quoteTable).join(', ')}`)
    const proof = await proveTables(session, tables, run.reporter)
    const facts = receiptFacts(target, load, { tables, fence, safetyBackup })
    await writeReceipt(session, facts)

    run.reporter.phase('swapping')
    await run.lease.waitUntilValid(MIN_LEASE_MS, LEASE_WAIT_MS, run.signal)
    await run.journal.record('committing', { target: database.name })
    run.signal.throwIfAborted()
    await commit(session, run.lease, load.job, database, run.signal)
    const { job, epoch } = load
    const { archive, engine } = facts
    return { receipt: { job, epoch, fence, archive, engine, committed_at: new Date().toISOString() }, proof }
  } catch (error) {
    await rollBack(target.session)
    throw error
  }
}

/**
 * Opens the transaction with every lock it needs, in one LOCK TABLE statement: lock_timeout is per lock. Locks are asked
 * for in short tries, so that readers queue behind us for seconds at most.
 */
async function begin(target: Target, load: Load, run: RestoreRun): Promise<number> {
  const { session } = target
  const options = { signal: run.signal, attempts: load.lockAttempts, firstDelayMs: 500, maxDelayMs: 10_000 }
  return await retry(options, async (attempt) => {
    try {
      const toLock = load.engine === 'truncate' ? (await findTables(session, load.feed.tables)).toLock : []
      await session.run('begin')
      if (toLock.length > 0) {
        await session.run(`set local statement_timeout = '5s'`)
        await session.run(`lock table ${toLock.join(', ')}`)
        await session.run(`set local statement_timeout = 0`)
      }
      return await takeFence(session, { job: load.job, fence: load.fence, target: target.database.name })
    } catch (error) {
      await rollBack(target.session)
      if (toSyncError(error).code === 'lock-timeout') {
        run.reporter.event('lock.waiting', { attempt, tables: load.feed.tables.slice(0, 5).map(formatTableName) })
      }
      throw error
    }
  })
}

interface Replaced {
  tables: ArchivedTable[]
  fence: number
  safetyBackup: string | undefined
}

function receiptFacts(target: Target, load: Load, { tables, fence, safetyBackup }: Replaced) {
  return {
    job: load.job,
    epoch: load.epoch,
    fence,
    target: target.database.name,
    archive: load.feed.archive,
    safetyBackup,
    engine: load.engine,
    tables: tables.length,
    names: tables,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
  }
}
