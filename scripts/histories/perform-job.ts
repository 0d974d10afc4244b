import { commit } from '../../agent/src/restore/commit.ts'
import { takeFence, writeReceipt } from '../../agent/src/restore/receipt.ts'
import { tryLockTarget } from '../../agent/src/postgres/target-lock.ts'
import type { Lease } from '../../agent/src/report/lease.ts'
import type { Reporter } from '../../agent/src/report/reporter.ts'
import type { Phase, TargetState } from '../../shared/src/job.ts'
import type { JobResult, Receipt } from '../../shared/src/protocol.ts'
import { isRefusal, SyncError, toSyncError } from '../../shared/src/sync-error.ts'
import type { Entry, Machine } from './machine.ts'
import { openTargetSession, type TargetSession } from './target-session.ts'
import type { World } from './world.ts'

/*
 * A job as the engines do it, with rows that are nothing but who wrote them. Lease, fence, receipt and commit are the
 * agent's own code; what is said before and after them is in the order in which the engines say it:
 *
 *   beside (as swap)     fence ─► load … prove ─► lease ─► journal ─► begin, fence, receipt, rows, deadline + commit
 *   in one (as truncate) begin, fence, rows, receipt ─► lease ─► journal ─► deadline + commit
 */

/** Of agent/src/restore/swap/exchange.ts and in-one-transaction.ts. */
const MIN_LEASE_MS = 5_000
const LEASE_WAIT_MS = 180_000

interface Run {
  reporter: Reporter
  lease: Lease
  signal: AbortSignal
}

interface Facts {
  state: TargetState
  receipt?: Receipt
}

export async function performJob(world: World, machine: Machine, entry: Entry, run: Run): Promise<JobResult> {
  const facts: Facts = { state: 'untouched' }
  const ended = { tables: 1, rows: 1, bytes: 1, seconds: 1, peak_rss_mb: 1, engine: 'swap' } as const
  try {
    await runJob(world, machine, entry, run, facts)
    const { receipt } = facts
    return { outcome: 'succeeded', target_state: facts.state, ...(receipt ? { receipt } : {}), ...ended }
  } catch (thrown) {
    let error = toSyncError(run.signal.aborted ? run.signal.reason : thrown)
    if (toSyncError(thrown).code === 'outcome-unknown') error = toSyncError(thrown)
    if (error.code === 'outcome-unknown') facts.state = 'unknown'
    if (error.code === 'internal') world.oracle.violation(`the agent failed: ${String(error.cause)}`)
    const isRefused = isRefusal(error.code) && facts.state === 'untouched'
    const outcome = error.code === 'canceled' ? 'canceled' : isRefused ? 'refused' : 'failed'
    return { outcome, code: error.code, message: error.message, target_state: facts.state, ...ended }
  }
}

async function runJob(world: World, machine: Machine, entry: Entry, run: Run, facts: Facts): Promise<void> {
  const { process } = machine
  const { random } = process
  const { longestPhaseMs, usesLock } = world.scenario
  const isBeside = random.chance(0.5)
  const phase = async (name: Phase): Promise<void> => {
    run.reporter.phase(name)
    await process.step()
    await process.work(random.between(0, longestPhaseMs), run.signal)
  }
  await phase('preflight')
  const session = await openTargetSession(world, machine, entry.target, run.signal)
  try {
    if (usesLock && !(await tryLockTarget(session))) throw new SyncError('target-busy', 'Another job is at work.')
    await phase('exporting')
    await phase('backing-up')
    if (isBeside) await beside(world, machine, entry, { ...run, session, phase }, facts)
    else await inOne(world, machine, entry, { ...run, session, phase }, facts)
    facts.state = 'changed'
  } catch (error) {
    await session.run('rollback').catch(() => undefined)
    throw error
  } finally {
    await session.close()
  }
  await phase('cleanup')
}

type OpenRun = Run & { session: TargetSession; phase: (name: Phase) => Promise<void> }

async function beside(world: World, machine: Machine, entry: Entry, run: OpenRun, facts: Facts): Promise<void> {
  const { session, phase, lease, signal, reporter } = run
  await session.run('begin')
  await takeFence(session, entry)
  await session.run('commit')
  for (const name of ['loading', 'proving'] as const) await phase(name)
  reporter.phase('swapping')
  await machine.process.step()
  await lease.waitUntilValid(MIN_LEASE_MS, LEASE_WAIT_MS, signal)
  entry.isCommitting = true
  facts.state = 'rolled_back'
  await machine.process.step(world.scenario.faults.riskAtSwap)
  await session.run('begin')
  await takeFence(session, entry)
  facts.receipt = await receipt(session, entry)
  await changeRows(session, entry)
  await commitIt(world, entry, run)
}

async function inOne(world: World, machine: Machine, entry: Entry, run: OpenRun, facts: Facts): Promise<void> {
  const { session, phase, lease, signal, reporter } = run
  facts.state = 'rolled_back'
  await session.run('begin')
  await takeFence(session, entry)
  await changeRows(session, entry)
  await phase('loading')
  facts.receipt = await receipt(session, entry)
  reporter.phase('swapping')
  await machine.process.step()
  await lease.waitUntilValid(MIN_LEASE_MS, LEASE_WAIT_MS, signal)
  entry.isCommitting = true
  await machine.process.step()
  signal.throwIfAborted()
  await commitIt(world, entry, run)
}

async function receipt(session: TargetSession, entry: Entry): Promise<Receipt> {
  const { job, epoch, fence, target } = entry
  const facts = { job, epoch, fence, target, archive: 'none', safetyBackup: undefined, engine: 'swap' as const }
  await writeReceipt(session, { ...facts, tables: 1, names: [], rows: 1 })
  return { job, epoch, fence, archive: 'none', engine: 'swap', committed_at: new Date().toISOString() }
}

/** The one live row stands for the tables: who changes it holds it until the end of the transaction. */
async function changeRows(session: TargetSession, { job, epoch, fence, target }: Entry): Promise<void> {
  await session.query('update public.live set job = $2, fence = $3 where target = $1', [target, job, fence])
  await session.query('insert into public.effects (target, job, epoch, fence) values ($1, $2, $3, $4)', [
    target,
    job,
    epoch,
    fence,
  ])
}

async function commitIt({ targets, oracle }: World, entry: Entry, { session, lease, signal }: OpenRun): Promise<void> {
  const { job, epoch, fence, target } = entry
  session.onCommit = () => oracle.committed({ job, epoch, fence, target })
  try {
    const url = targets.get(target)?.url ?? ''
    await commit(session, lease, job, { name: target, url, viaProxy: false }, signal)
  } finally {
    session.found()
    session.onCommit = undefined
  }
}
