import type { Mapping } from '@multiboard-sync/shared/mapping'
import type { SearchResult } from '@multiboard-sync/shared/search'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext, Job, JobRun } from './context.ts'
import { openSession, type DatabaseUrl } from './postgres/session.ts'
import type { PlannedReindex } from './reindex/planned-reindex.ts'
import { notReady } from './reindex/preflight/not-ready.ts'
import { inspectReindex, type Inspected } from './reindex/preflight/plan-reindex.ts'
import type { ReindexRun } from './reindex/reindex-run.ts'
import { reindex, staleResult, type Unplanned } from './reindex/reindex.ts'
import { listPrevious } from './restore/swap/previous.ts'
import { patiently } from './typesense/patiently.ts'
import type { Typesense } from './typesense/typesense.ts'

/**
 * After the commit: the collections that planSearch() has named follow the rows. Never throws: what does not become fresh
 * is told as stale in the run's facts, because the rows are there to stay, and the search alone can be tried again.
 */
export async function followRows(
  context: AgentContext,
  job: Job,
  run: JobRun,
  { target, aliases }: { target: DatabaseUrl; aliases: string[] },
): Promise<void> {
  if (aliases.length === 0) return
  run.reporter.phase('reindexing')
  run.facts.search = await follow(context, job, run, target, aliases)
}

async function follow(
  context: AgentContext,
  job: Job,
  run: JobRun,
  target: DatabaseUrl,
  aliases: string[],
): Promise<SearchResult> {
  const startedMs = performance.now()
  const { signal } = run
  try {
    await run.journal.record('reindexing', { source: target.name, aliases })
    await using typesense = await openPatiently(context, run)
    await using session = await openSession(target, { purpose: 'reindex', signal, readOnly: true })
    const mappings = aliases.flatMap((alias): [string, Mapping][] => {
      const mapping = context.policy.collections[alias]
      return mapping ? [[alias, mapping]] : []
    })
    const request = { typesense, mappings, session, checkRows: false, full: false }
    // What is wrong with the server now is met by the work itself, which waits for what passes.
    const { collections } = await inspectReindex({ ...request, settleMs: context.searchPatienceMs }, signal)
    const previous = (await listPrevious(session)).find((aside) => aside.job === job.id)
    const undone = job.params.kind === 'undo' ? job.params.job : undefined
    const reindexRun = reindexRunOf(context, job, run, typesense, target)
    const how = { previous, undone, reopen: context.openTypesense }
    return (await reindex(reindexRun, collections.map(plannedOf), how)).search
  } catch (thrown) {
    const error = toSyncError(signal.aborted ? signal.reason : thrown)
    const seconds = (performance.now() - startedMs) / 1000
    for (const alias of aliases) run.reporter.event('search.stale', { alias, code: error.code }, 'warning')
    const reason = 'it was not begun'
    const collections = aliases.map((alias) => staleResult({ alias, mode: 'full', reason }, error, seconds))
    return { state: 'stale', collections }
  }
}

export function reindexRunOf(
  context: AgentContext,
  job: Job,
  { reporter, lease, journal, signal }: JobRun,
  typesense: Typesense,
  database: DatabaseUrl,
): ReindexRun {
  const { store, prefix, searchPatienceMs: giveUpAfterMs } = context
  return { job: job.id, typesense, database, store, prefix, reporter, lease, journal, giveUpAfterMs, signal }
}

/** It answered before the job; since then it may have been restarted. */
async function openPatiently(context: AgentContext, { reporter, signal }: JobRun): Promise<Typesense> {
  let isWaiting = false
  const onWaiting = (): void => {
    if (!isWaiting) reporter.event('search.waiting', { seconds: 0 })
    isWaiting = true
    reporter.progress({ waitingFor: 'Typesense' })
  }
  const patience = { signal, onWaiting, giveUpAfterMs: context.searchPatienceMs }
  const typesense = await patiently(async () => await context.openTypesense(signal), patience)
  reporter.progress({ waitingFor: undefined })
  return typesense
}

function plannedOf(inspected: Inspected['collections'][number]): PlannedReindex | Unplanned {
  const { alias, compiled, live, generation, mode, reason, rows, notices, findings } = inspected
  if (compiled && findings.length === 0) {
    return { alias, compiled, live, generation, mode, reason, rows: rows?.documents, notices }
  }
  return { alias, mode, reason, error: notReady(findings.map((finding) => `${alias}: ${finding}`)) }
}
