import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from './context.ts'
import { openJournal, untidyJobs } from './journal/journal.ts'
import { log } from './log.ts'
import { openSession } from './postgres/session.ts'
import { waitForTargetLock } from './postgres/target-lock.ts'
import { dropAside, readAsides } from './restore/stage/aside.ts'
import { validateKeys } from './restore/swap/after-swap.ts'

/**
 * What jobs of dead processes, or jobs that lost their target at the end, left to do in it: their stages are dropped, and
 * foreign keys that a committed swap added unvalidated are validated. Never touches a job of a living process, live tables
 * or previous ones. A target that cannot be reached now is tidied another time: nothing waits for it.
 */
export async function tidyTargets(
  context: AgentContext,
  isAlive: (pid: number | undefined) => boolean,
  signal: AbortSignal,
): Promise<void> {
  for (const { job, target, pid } of await untidyJobs(context.stateDir)) {
    if (isAlive(pid)) continue
    try {
      await tidyTarget(context, job, target, signal)
    } catch (thrown) {
      signal.throwIfAborted()
      const { code, message, hint } = toSyncError(thrown)
      log('warning', `What a job left beside its target's tables is still there. ${message}`, { job, code, hint })
      continue
    }
    await using journal = await openJournal(context.stateDir, job)
    await journal.record('tidied', {})
    log('info', "What a job left beside its target's tables was removed.", { job, target })
  }
}

async function tidyTarget(context: AgentContext, job: string, target: string, signal: AbortSignal): Promise<void> {
  await using session = await openSession(context.databaseUrl(target), { purpose: 'tidy', signal })
  // Nobody works on the target while we do; the dead agent's own transaction may still be ending.
  await waitForTargetLock(session)
  for (const aside of await readAsides(session)) {
    if (aside.job === job && aside.kind !== 'previous') await dropAside(session, aside)
  }
  await validateKeys(session)
}
