import type { CollectionResult, SearchMode, SearchResult } from '@multiboard-sync/shared/search'
import { toSyncError, type SyncError } from '@multiboard-sync/shared/sync-error'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { Journal } from '../journal/journal.ts'
import type { Typesense } from '../typesense/typesense.ts'
import { reindexFull } from './full/reindex-full.ts'
import { settleGenerations } from './full/settle-generations.ts'
import { reindexIncrementally } from './incremental/reindex-incrementally.ts'
import type { PlannedReindex } from './planned-reindex.ts'
import { pointBack } from './point-back.ts'
import type { ReindexRun } from './reindex-run.ts'
import { staleResult, type Unplanned } from './stale-result.ts'

/*
 * Reindex: search collections become equal to the rows, one after the other.
 *
 *   undo of a job that moved the alias ─► point back        point-back.ts
 *   mapping and schema as they were    ─► incremental       incremental/
 *   else, or where that does not do    ─► full              full/
 *
 * Promises: never throws; what did not become fresh is told as stale, with code and hint, and was live before, whole. What
 * was made for nothing is dropped again, at once or at the next boot. When the job is canceled or has lost its lease, the
 * rest is stale at once.
 * Never: touches the database; takes a failure of one collection for a reason not to try the next.
 */

/** Dropping what was made for nothing is worth so much of a job's end; else the next boot does it. */
const SETTLE_MS = 15_000

export interface ReindexHow {
  /** The tables that this job's swap has replaced, kept aside: what differs from them is what has changed. */
  previous?: { schemas: ReadonlyMap<string, string>; tables: TableName[] } | undefined
  /** The job that this one undoes. */
  undone?: string | undefined
  /** A search server that outlives the job's own signal: to put in order what a cancel has cut short. */
  reopen: (signal: AbortSignal) => Promise<Typesense>
}

export interface Reindexed {
  search: SearchResult
  /** Why the first stale one is stale. */
  error: SyncError | undefined
}

export async function reindex(
  run: ReindexRun,
  planned: (PlannedReindex | Unplanned)[],
  how: ReindexHow,
): Promise<Reindexed> {
  const noted = noteMade(run.journal)
  const watched = { ...run, journal: noted.journal }
  const collections: CollectionResult[] = []
  let error: SyncError | undefined
  for (const one of planned) {
    const startedMs = performance.now()
    // How far it came: a way that was tried and did not do is told with what ended the next one.
    const way: Way = { mode: one.mode, reason: one.reason }
    try {
      run.signal.throwIfAborted()
      if ('error' in one) throw one.error
      const done = await bring(watched, one, how, way)
      const { alias, mode, documents = null, upserted, deleted, compared, seconds } = done
      run.reporter.event('search.done', { alias, mode, documents, upserted, deleted, compared, seconds })
      collections.push(done)
    } catch (thrown) {
      const reason = toSyncError(run.signal.aborted ? run.signal.reason : thrown)
      error ??= reason
      run.reporter.event('search.stale', { alias: one.alias, code: reason.code }, 'warning')
      collections.push(staleResult({ alias: one.alias, ...way }, reason, (performance.now() - startedMs) / 1000))
    }
  }
  run.reporter.progress({ table: undefined, waitingFor: undefined })
  const search: SearchResult = { state: error ? 'stale' : 'fresh', collections }
  await leaveInOrder(run, noted, how, search)
  return { search, error }
}

interface Way {
  mode: SearchMode
  reason: string
}

/** One collection, by the first way that does. Throws what makes it stale. */
async function bring(run: ReindexRun, planned: PlannedReindex, how: ReindexHow, way: Way): Promise<CollectionResult> {
  const { alias } = planned
  const begin = (mode: SearchMode): void => {
    way.mode = mode
    run.reporter.event('search.begun', { alias, mode, reason: way.reason })
  }
  if (how.undone !== undefined) {
    way.reason = `job ${how.undone} is undone`
    begin('pointed-back')
    const back = await pointBack(run, planned, how.undone)
    if ('alias' in back) return back
    way.reason = back.instead
  }
  if (planned.mode === 'incremental') {
    begin('incremental')
    const changed = await reindexIncrementally(run, planned, how.previous ? { previous: how.previous } : {})
    if ('alias' in changed) return changed
    way.reason = changed.full
  }
  begin('full')
  return await reindexFull(run, planned, way.reason)
}

interface Made {
  journal: Journal
  generations: { alias: string; collection: string }[]
  adoptions: { alias: string; collection: string; plain: string }[]
}

/** The journal, which also remembers here what is to be put in order when a collection ends stale. */
function noteMade(journal: Journal): Made {
  const generations: Made['generations'] = []
  const adoptions: Made['adoptions'] = []
  return {
    generations,
    adoptions,
    journal: {
      ...journal,
      record: async (step, data) => {
        await journal.record(step, data)
        if (step === 'generation-made') generations.push(data as Made['generations'][number])
        if (step === 'adopting') adoptions.push(data as Made['adoptions'][number])
      },
    },
  }
}

/** Writes down the end, and drops what was made for nothing. What cannot be done now the next boot does. */
async function leaveInOrder(
  { job, journal, reporter }: ReindexRun,
  { generations, adoptions }: Made,
  how: ReindexHow,
  search: SearchResult,
): Promise<void> {
  try {
    await journal.record('reindexed', { search })
    if (search.state === 'stale' && generations.length > 0) {
      await using typesense = await how.reopen(AbortSignal.timeout(SETTLE_MS))
      await settleGenerations(typesense, job, generations, adoptions)
    }
    await journal.record('search-tidied', {})
  } catch (thrown) {
    reporter.event('search.left-behind', { code: toSyncError(thrown).code }, 'warning')
  }
}
