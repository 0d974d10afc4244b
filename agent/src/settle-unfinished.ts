import type { JobResult } from '@multiboard-sync/shared/protocol'
import type { SearchResult } from '@multiboard-sync/shared/search'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { archivePrefix } from './archive/object-names.ts'
import type { AgentContext } from './context.ts'
import { openJournal, unfinishedJournals, type JournalSummary } from './journal/journal.ts'
import { log } from './log.ts'
import { openSession, type DatabaseUrl } from './postgres/session.ts'
import { waitForTargetLock } from './postgres/target-lock.ts'
import { staleResult } from './reindex/stale-result.ts'
import { openOutbox } from './report/outbox.ts'
import { readReceipt } from './restore/receipt.ts'
import { tidySearch } from './tidy-search.ts'
import { tidyTargets } from './tidy-targets.ts'

/*
 * What the next boot does about jobs that ended with their process: their open uploads are aborted, the target is asked
 * for the receipt, and the truth is written into the journal. Nothing is ever resumed.
 *
 *   no receipt, commit never begun ─► failed, target untouched
 *   no receipt, commit begun       ─► failed, target rolled back
 *   receipt                        ─► succeeded, target changed (it was proven before it was committed)
 *
 * A collection that was to follow and of whose end nothing is written is stale: what was live before is still live.
 * What the job left beside the target's tables, and of its collections, is tidied up afterwards (tidy-targets.ts,
 * tidy-search.ts).
 */

/** The journal of a job without a control plane has this number; orders count from 1. */
const LOCAL_FENCE = 0

/** Throws when a target or the store cannot be reached: then the truth is not known yet, and is asked for again. */
export async function settleUnfinished(context: AgentContext, signal: AbortSignal): Promise<void> {
  for (const unfinished of await unfinishedJournals(context.stateDir)) {
    if (isAlive(unfinished.pid)) continue
    await abortUploads(context, unfinished, signal)
    const result = await findTruth(context, unfinished, signal)
    const { job, epoch, fence } = unfinished
    // A job killed before its first event has no outbox yet; by the outbox it is told. Local jobs have nobody to tell.
    if (fence > LOCAL_FENCE) openOutbox({ stateDir: context.stateDir, job, epoch }).close()
    await using journal = await openJournal(context.stateDir, job)
    await journal.record('finished', { result })
    log('warning', 'A job that ended with its process was settled.', {
      job,
      outcome: result.outcome,
      target_state: result.target_state,
    })
  }
  await tidyTargets(context, isAlive, signal)
  await tidySearch(context, isAlive, signal)
}

/** In a container the pid of the process before us may be our own: at a boot none of ours runs a job. */
function isAlive(pid: number | undefined): boolean {
  if (pid === undefined || pid === process.pid) return false
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function abortUploads(context: AgentContext, unfinished: JournalSummary, signal: AbortSignal): Promise<void> {
  for (const { archive, kind } of unfinished.begun) {
    const folder = archivePrefix(context.prefix, kind, archive)
    const known = unfinished.uploads.filter((upload) => upload.key.startsWith(folder))
    await context.store.abortUploads(folder, known, signal)
  }
}

async function findTruth(context: AgentContext, unfinished: JournalSummary, signal: AbortSignal): Promise<JobResult> {
  const { params, job, mayHaveCommitted } = unfinished
  const ended = { tables: 0, rows: 0, bytes: 0, seconds: 0, peak_rss_mb: 0 }
  if ('target' in params && mayHaveCommitted) {
    const database = findDatabase(context, params.target)
    if (!database) return { ...unknownForGood, ...ended }
    await using session = await openSession(database, { purpose: 'receipt', signal })
    // The dead agent's transaction may still be ending on the server: its lock is free only then.
    await waitForTargetLock(session)
    const receipt = await readReceipt(session, job)
    const search = searchOf(unfinished)
    if (receipt) {
      const { engine } = receipt
      return { outcome: 'succeeded', engine, target_state: 'changed', receipt, ...search, ...ended }
    }
  }
  if (params.kind === 'reindex') {
    const { code, message } = CRASHED
    const hint = 'Searches find what they found before. Start the job again.'
    return { outcome: 'failed', code, message, hint, target_state: 'untouched', ...searchOf(unfinished), ...ended }
  }
  return {
    outcome: 'failed',
    code: CRASHED.code,
    message: CRASHED.message,
    hint: 'The target is as it was. Start the job again.',
    target_state: mayHaveCommitted ? 'rolled_back' : 'untouched',
    ...ended,
  }
}

const CRASHED = new SyncError('crashed', "The agent's process ended in the middle of the job.")

function searchOf({ searchAliases, search }: JournalSummary): { search?: SearchResult } {
  if (search) return { search }
  if (searchAliases.length === 0) return {}
  const what = { mode: 'full', reason: 'it was not told' } as const
  return {
    search: { state: 'stale', collections: searchAliases.map((alias) => staleResult({ alias, ...what }, CRASHED, 0)) },
  }
}

/** Nobody can ask a target that the configuration does not name any more; the agent must not wait for it for ever. */
function findDatabase(context: AgentContext, name: string): DatabaseUrl | undefined {
  try {
    return context.databaseUrl(name)
  } catch (thrown) {
    if (toSyncError(thrown).code === 'database-unknown') return undefined
    throw thrown
  }
}

const unknownForGood = {
  outcome: 'failed',
  code: 'outcome-unknown',
  message: "The agent's process ended at the commit, and the agent does not know the target any more.",
  hint: 'Look for the job in multiboard_sync.receipts of the target: a row means it was committed.',
  target_state: 'unknown',
} as const
