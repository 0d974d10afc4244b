import type { Mapping } from '@multiboard-sync/shared/mapping'
import type { SearchResult } from '@multiboard-sync/shared/search'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext, Job, JobRun } from './context.ts'
import { openSession, type DatabaseUrl } from './postgres/session.ts'
import type { PlannedReindex } from './reindex/planned-reindex.ts'
import { inspectReindex, type Inspected } from './reindex/preflight/plan-reindex.ts'
import type { ReindexRun } from './reindex/reindex-run.ts'
import { reindex } from './reindex/reindex.ts'
import { staleResult, type Unplanned } from './reindex/stale-result.ts'
import { listPrevious } from './restore/swap/previous.ts'
import { patiently, type Patience } from './typesense/patiently.ts'
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
    const patience = bePatient(context, run)
    await using typesense = await patiently(async () => await context.openTypesense(signal), patience)
    const { planned, previous } = await look(context, job, { target, aliases, typesense, patience })
    run.reporter.progress({ waitingFor: undefined })
    const undone = job.params.kind === 'undo' ? job.params.job : undefined
    const reindexRun = reindexRunOf(context, job, run, typesense, target)
    const how = { previous, undone, reopen: context.openTypesense }
    return (await reindex(reindexRun, planned, how)).search
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

/** The search server answered before the job; since then it may have been restarted. */
function bePatient({ searchPatienceMs: giveUpAfterMs }: AgentContext, { reporter, signal }: JobRun): Patience {
  let isWaiting = false
  const onWaiting: Patience['onWaiting'] = ({ code }, waitedMs) => {
    if (!isWaiting) reporter.event('search.waiting', { code, seconds: Math.round(waitedMs / 1000) })
    isWaiting = true
    reporter.progress({ waitingFor: 'Typesense' })
  }
  return { signal, onWaiting, giveUpAfterMs }
}

interface Looking {
  target: DatabaseUrl
  aliases: string[]
  typesense: Typesense
  patience: Patience
}

/** The collections as they are now, seen from the rows as they are now, and the tables that this job's swap has replaced. */
async function look(context: AgentContext, job: Job, { target, aliases, typesense, patience }: Looking) {
  const { signal } = patience
  // While a server starts, it tells its version and nothing else.
  await patiently(async () => await typesense.listAliases(), patience)
  const mappings = aliases.flatMap((alias): [string, Mapping][] => {
    const mapping = context.policy.collections[alias]
    return mapping ? [[alias, mapping]] : []
  })
  await using session = await openSession(target, { purpose: 'reindex', signal, readOnly: true })
  // What is wrong with the server now is met by the work itself, which waits for what passes.
  // Rows out of an archive nobody has looked at yet; the search server takes some that it should refuse.
  const checkRows = job.params.kind === 'restore'
  const request = { typesense, mappings, session, checkRows, full: false, settleMs: 0 }
  const { collections } = await patiently(async () => await inspectReindex(request, signal), patience)
  const previous = (await listPrevious(session)).find((aside) => aside.job === job.id)
  return { planned: collections.map(plannedOf), previous }
}

function plannedOf(inspected: Inspected['collections'][number]): PlannedReindex | Unplanned {
  const { alias, compiled, live, generation, mode, reason, rows, notices, findings } = inspected
  if (compiled && findings.length === 0) {
    return { alias, compiled, live, generation, mode, reason, rows: rows?.documents, notices }
  }
  const error = new SyncError('search-not-ready', 'The collection cannot follow the rows as it is now.', {
    hint: 'Do what the findings say; docs/TYPESENSE.md tells more of each.',
    details: findings,
  })
  return { alias, mode, reason, error }
}
