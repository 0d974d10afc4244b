import { randomUUID } from 'node:crypto'

import { readReceipt } from '../../agent/src/restore/receipt.ts'
import { tryLockTarget } from '../../agent/src/postgres/target-lock.ts'
import { retryDelayMs } from '../../agent/src/poll/retry-delay.ts'
import { startUpload } from '../../agent/src/report/upload.ts'
import type { JobResult } from '../../shared/src/protocol.ts'
import { SyncError, toSyncError } from '../../shared/src/sync-error.ts'
import { connectAgent, openPlainOrder } from './connect-agent.ts'
import type { Entry, Machine } from './machine.ts'
import { openMemoryOutbox } from './memory-outbox.ts'
import { agentPolicy } from './policy.ts'
import { deadline, runOrder } from './run-order.ts'
import { openTargetSession } from './target-session.ts'
import type { World } from './world.ts'

/** Idle polls tell a history nothing: they come less often than in life. */
const POLLS_SELDOMER = 5
const TELL_FOR_MS = 600_000
const LOCK_PAUSE_MS = 5_000

/** As agent/src/agent.ts: settle what a death left, then tell, poll, run, and poll again. */
export async function runAgent(world: World, machine: Machine): Promise<void> {
  const { process } = machine
  const bootId = randomUUID()
  const controlPlane = connectAgent(world, machine)
  const signal = new AbortController().signal
  let failures = 0
  let isSettled = false
  for (;;) {
    let waitMs: number
    try {
      machine.isBusy = true
      if (!isSettled) await settleUnfinished(world, machine)
      isSettled = true
      await finishJobs(world, machine)
      machine.isBusy = machine.disk.outboxes.size > 0
      const { reply } = await controlPlane.poll({ ...agentPolicy.said, boot_id: bootId, running: [] }, signal)
      failures = 0
      if (reply.order !== undefined) {
        machine.isBusy = true
        await runOrder(world, machine, openPlainOrder(reply.order))
        continue
      }
      waitMs = reply.poll_after_ms * POLLS_SELDOMER * process.random.between(0.8, 1.2)
    } catch (thrown) {
      const error = toSyncError(thrown)
      if (error.code === 'internal') throw error.cause
      failures += 1
      waitMs = retryDelayMs(error, failures, process.random.next)
    }
    await process.work(waitMs, signal)
  }
}

/** As agent/src/settle-unfinished.ts: the target's receipt says what became of a job that died. */
async function settleUnfinished(world: World, machine: Machine): Promise<void> {
  for (const entry of machine.disk.journals.values()) {
    if (entry.result) continue
    openMemoryOutbox(machine.disk, entry.job, entry.epoch)
    entry.result = await findTruth(world, machine, entry)
    const { outcome, target_state } = entry.result
    world.oracle.note(`${machine.name}: ${entry.job} is settled as ${outcome}, ${target_state}`)
    await machine.process.step()
  }
}

async function findTruth(world: World, machine: Machine, entry: Entry): Promise<JobResult> {
  const ended = { tables: 0, rows: 0, bytes: 0, seconds: 0, peak_rss_mb: 0 }
  if (entry.isCommitting) {
    const signal = new AbortController().signal
    const session = await openTargetSession(world, machine, entry.target, signal)
    try {
      while (world.scenario.usesLock && !(await tryLockTarget(session))) {
        await machine.process.work(LOCK_PAUSE_MS, signal)
      }
      const receipt = await readReceipt(session, entry.job)
      if (receipt) return { outcome: 'succeeded', target_state: 'changed', receipt, ...ended }
    } finally {
      await session.close()
    }
  }
  const { code, message } = new SyncError('crashed', "The agent's process ended in the middle of the job.")
  return { outcome: 'failed', code, message, target_state: entry.isCommitting ? 'rolled_back' : 'untouched', ...ended }
}

/** As agent/src/finish-jobs.ts. */
async function finishJobs(world: World, machine: Machine): Promise<void> {
  const { disk, process } = machine
  for (const { job, epoch } of disk.outboxes.values()) {
    const entry = disk.journals.get(job)
    if (!entry?.result) continue
    const outbox = openMemoryOutbox(disk, job, epoch)
    const held = { job, epoch, fence: entry.fence, target: entry.target }
    const upload = startUpload({
      controlPlane: connectAgent(world, machine, held),
      job,
      epoch,
      outbox,
      signal: new AbortController().signal,
      onCancel: () => undefined,
      onLost: () => undefined,
      clock: process.clock,
      random: process.random.next,
    })
    try {
      await upload.complete(entry.result, deadline(world, TELL_FOR_MS))
    } catch (thrown) {
      const error = toSyncError(thrown)
      if (error.retryable || error.code === 'control-plane-unreachable') throw error
      await outbox.remove()
    } finally {
      await upload[Symbol.asyncDispose]()
    }
  }
}
