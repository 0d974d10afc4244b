import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from './context.ts'
import { findGenerations, findInTarget, findUploads, hasSearch, type Leftover } from './find-leftovers.ts'
import { log } from './log.ts'
import { openTarget } from './postgres/open-target.ts'
import { dropLeftover } from './reindex/full/find-leftover-generations.ts'
import { dropAside } from './restore/stage/aside.ts'
import { dropOnePrevious } from './restore/swap/previous.ts'
import { settleUnfinished } from './settle-unfinished.ts'

export interface CleanRequest {
  /** Absent: every target of the policy, the bucket, and the search server. */
  target: string | undefined
  /** Whose leftovers may go although this agent has not run it: the agent that did is lost. */
  job: string | undefined
  /** Previous tables, too: an undo then takes the safety backup. */
  previous: boolean
  dryRun: boolean
}

export interface Cleaned {
  leftover: Leftover
  /** `removed`, `would be removed`, or why it was kept. */
  what: string
}

/**
 * Removes what ended jobs of this agent have left behind: stages, open uploads, collections that were never live, and when
 * asked for the previous tables.
 * Never what belongs to a job that runs, to another agent's job unless that is named, or what anything outside still points
 * to. Throws `target-busy` while a job works on the target.
 */
export async function clean(
  context: AgentContext,
  { target, job, previous, dryRun }: CleanRequest,
  signal: AbortSignal,
): Promise<Cleaned[]> {
  // A job whose process died is not ended before this.
  if (!dryRun) await settleUnfinished(context, signal)
  const cleaned: Cleaned[] = []
  for (const name of target === undefined ? targetsOf(context) : [target]) {
    for (const leftover of await findInTarget(context, name, signal)) {
      const kept = reasonToKeep(leftover, job, previous)
      const what = kept ?? (dryRun ? 'would be removed' : await removeFrom(context, name, leftover, signal))
      cleaned.push({ leftover, what })
    }
  }
  for (const leftover of target === undefined ? await findUploads(context, signal) : []) {
    if (leftover.kind !== 'upload') continue
    const { key, uploadId } = leftover
    if (!dryRun) await context.store.abortUpload(key, uploadId, signal)
    cleaned.push({ leftover, what: dryRun ? 'would be removed' : 'removed' })
  }
  if (target === undefined && hasSearch(context)) cleaned.push(...(await cleanSearch(context, job, dryRun, signal)))
  return cleaned
}

/** A search server that is away keeps nothing else from being cleaned. */
async function cleanSearch(
  context: AgentContext,
  job: string | undefined,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<Cleaned[]> {
  const cleaned: Cleaned[] = []
  try {
    const leftovers = await findGenerations(context, signal, job)
    if (leftovers.length === 0) return []
    await using typesense = await context.openTypesense(signal)
    for (const leftover of leftovers) {
      if (leftover.kind !== 'generation') continue
      const isRemoved = !dryRun && (await dropLeftover(typesense, leftover.generation))
      const what = dryRun ? 'would be removed' : isRemoved ? 'removed' : 'kept: it is in use by now'
      cleaned.push({ leftover, what })
    }
  } catch (thrown) {
    signal.throwIfAborted()
    const { code, message, hint } = toSyncError(thrown)
    log('warning', `What is left on the search server is still there. ${message}`, { code, hint })
  }
  return cleaned
}

function targetsOf({ policy }: AgentContext): string[] {
  return [...new Set(policy.routes.map(({ to }) => to))].filter((name) => Object.hasOwn(policy.databases, name))
}

function reasonToKeep(
  { kind, isOurs, job }: Leftover,
  named: string | undefined,
  previous: boolean,
): string | undefined {
  if (!isOurs && job !== named) {
    return `kept: its job is not one of this agent that has ended; if the agent that ran it is lost, --job ${job}`
  }
  if (kind === 'previous' && !previous) return 'kept for an undo: --previous drops it'
  return undefined
}

async function removeFrom(
  context: AgentContext,
  name: string,
  leftover: Leftover,
  signal: AbortSignal,
): Promise<string> {
  if (leftover.kind !== 'stage' && leftover.kind !== 'previous') {
    throw new SyncError('internal', 'It lies in no database.')
  }
  // With the target's lock: a job that works there is not disturbed.
  await using target = await openTarget(context.databaseUrl(name), signal)
  if (leftover.kind === 'stage') {
    await dropAside(target.session, leftover.aside)
    return 'removed'
  }
  const reasons = await dropOnePrevious(target.session, leftover.aside)
  return reasons.length === 0 ? 'removed' : `kept: ${reasons.join('; ')}`
}
