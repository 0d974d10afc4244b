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
/** Normalised errors of refused documents that travel with a result. */
const MAX_DETAILS = 20

/** A collection of which the preflight could not make a plan. */
export interface Unplanned {
  alias: string
  mode: SearchMode
  reason: string
  error: SyncError
}

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
    try {
      run.signal.throwIfAborted()
      if ('error' in one) throw one.error
      const done = await bring(watched, one, how)
      const { alias, mode, documents = null, upserted, deleted, compared, seconds } = done
      run.reporter.event('search.done', { alias, mode, documents, upserted, deleted, compared, seconds })
      collections.push(done)
    } catch (thrown) {
      const reason = toSyncError(run.signal.aborted ? run.signal.reason : thrown)
      error ??= reason
      run.reporter.event('search.stale', { alias: one.alias, code: reason.code }, 'warning')
      collections.push(staleResult(one, reason, (performance.now() - startedMs) / 1000))
    }
  }
  run.reporter.progress({ table: undefined, waitingFor: undefined })
  const search: SearchResult = { state: error ? 'stale' : 'fresh', collections }
  await leaveInOrder(run, noted, how, search)
  return { search, error }
}

/** One collection, by the first way that does. Throws what makes it stale. */
async function bring(run: ReindexRun, planned: PlannedReindex, how: ReindexHow): Promise<CollectionResult> {
  const { alias } = planned
  const begin = (mode: SearchMode, reason: string): void => run.reporter.event('search.begun', { alias, mode, reason })
  let { reason } = planned
  if (how.undone !== undefined) {
    begin('pointed-back', `job ${how.undone} is undone`)
    const back = await pointBack(run, planned, how.undone)
    if ('alias' in back) return back
    reason = back.instead
  }
  if (planned.mode === 'incremental') {
    begin('incremental', reason)
    const changed = await reindexIncrementally(run, planned, how.previous ? { previous: how.previous } : {})
    if ('alias' in changed) return changed
    reason = changed.full
  }
  begin('full', reason)
  return await reindexFull(run, planned, reason)
}

/** What a collection is that did not become fresh: what was live before still is. */
export function staleResult(
  { alias, mode, reason }: Pick<Unplanned, 'alias' | 'mode' | 'reason'>,
  { code, message, hint, details }: SyncError,
  seconds: number,
): CollectionResult {
  return {
    alias,
    state: 'stale',
    mode,
    reason,
    upserted: 0,
    deleted: 0,
    compared: 0,
    seconds: Math.round(seconds * 1000) / 1000,
    code,
    message: message.slice(0, 2000),
    hint: `${hint}${hint === '' ? '' : ' '}Then run \`pnpm agent reindex ${alias}\`.`.slice(0, 2000),
    ...(details.length > 0 ? { details: details.slice(0, MAX_DETAILS).map((detail) => detail.slice(0, 2000)) } : {}),
  }
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
