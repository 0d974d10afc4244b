import type { Mapping } from '@multiboard-sync/shared/mapping'
import { collectionsOf, type Route } from '@multiboard-sync/shared/policy'
import type { PlannedCollection } from '@multiboard-sync/shared/search'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { isReplaced, isTouched, type ChangedTables } from './changed-tables.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import type { Session } from './postgres/session.ts'
import { readGeneration } from './reindex/generation.ts'
import { compileMapping } from './reindex/mapping/compile-mapping.ts'
import type { PlannedReindex } from './reindex/planned-reindex.ts'
import { inSnapshot, tried } from './reindex/preflight/in-snapshot.ts'
import { notReady } from './reindex/preflight/not-ready.ts'
import { openForReindex } from './reindex/preflight/open-for-reindex.ts'
import { planReindex } from './reindex/preflight/plan-reindex.ts'
import type { Typesense } from './typesense/typesense.ts'

/** What a job will change, for the search to follow. */
export interface SearchRequest {
  /** The database whose rows change. */
  target: string
  /** Of the target, as it is before. */
  session: Session
  /** A snapshot of the rows that are to come; absent where they lie in an archive, or aside. */
  source?: Session
  tables: ChangedTables
  /** True when the job makes the tables: then the target cannot say yet whether a mapping fits. */
  isCreated: boolean
  route: Route | undefined
}

type Collection = [alias: string, mapping: Mapping]

/** Where a collection's mapping can be tried before the job. */
interface Sorted {
  /** All its rows come from the source. */
  atSource: Collection[]
  /** Some of them stay as they are in the target. */
  atTarget: Collection[]
  /** Its tables are nowhere yet. */
  later: Collection[]
}

/**
 * Before a database is touched: the aliases of the collections that will have to follow, none where none does. Throws
 * `search-not-configured`, and `search-not-ready` with every finding of all of them; of an undo, which the search never
 * hinders, the findings become notices. Writes nothing but the job's journal.
 */
export async function planSearch(
  context: AgentContext,
  job: Job,
  run: JobRun,
  request: SearchRequest,
): Promise<string[]> {
  if ('reindex' in job.params && job.params.reindex === false) return []
  const { collections } = context.policy
  const meant = [...new Set(request.route?.collections ?? collectionsOf(context.policy, request.target))]
  const sorted = await sortCollections(
    meant.flatMap((alias): Collection[] => (collections[alias] ? [[alias, collections[alias]]] : [])),
    request,
  )
  const touched = [...sorted.atSource, ...sorted.atTarget, ...sorted.later].map(([alias]) => alias)
  const aliases = meant.filter((alias) => touched.includes(alias))
  if (aliases.length === 0) return []
  const undone = job.params.kind === 'undo' ? job.params.job : undefined
  const planned = await planOrTell(context, request, sorted, run.signal, undone)
  tellPlan(run, planned)
  if (!run.dryRun) await run.journal.record('search-planned', { source: request.target, aliases })
  return aliases
}

/** Kept for the result, and told to the reporter. */
export function tellPlan(run: JobRun, planned: PlannedCollection[]): void {
  run.facts.searchPlan = planned
  const collections = planned.map(({ alias, mode, reason }) => ({ alias, mode, reason }))
  run.reporter.event('search.planned', { collections })
}

export function viewPlanned({ alias, mode, reason, live, notices }: PlannedReindex): PlannedCollection {
  return { alias, mode, reason, ...(live ? { documents: live.documents } : {}), notices }
}

/** Those that are made of tables of the job. One whose tables cannot be told may be, too. */
async function sortCollections(collections: Collection[], request: SearchRequest): Promise<Sorted> {
  const { source, session, tables, isCreated } = request
  const sorted: Sorted = { atSource: [], atTarget: [], later: [] }
  for (const collection of collections) {
    const coming = source && (await tablesOf(source, collection))
    if (coming && isReplaced(tables, coming)) {
      sorted.atSource.push(collection)
      continue
    }
    const present = await tablesOf(session, collection)
    if (present) {
      if (isTouched(tables, present) || (coming && isTouched(tables, coming))) sorted.atTarget.push(collection)
    } else if (coming) {
      if (isTouched(tables, coming)) sorted.later.push(collection)
    } else if (source) sorted.atSource.push(collection)
    else if (isCreated) sorted.later.push(collection)
    else sorted.atTarget.push(collection)
  }
  return sorted
}

/** What the documents are made of; undefined when the mapping does not fit the database. */
async function tablesOf(session: Session, [alias, mapping]: Collection) {
  const compiled = await inSnapshot(
    session,
    async () => await tried(session, async () => await compileMapping(session, alias, mapping)),
  )
  return compiled.ok ? compiled.value.tables : undefined
}

async function planOrTell(
  context: AgentContext,
  request: SearchRequest,
  sorted: Sorted,
  signal: AbortSignal,
  undone: string | undefined,
): Promise<PlannedCollection[]> {
  try {
    await using typesense = await openForReindex(async () => await context.openTypesense(signal))
    const planned = await planAll(typesense, request, sorted, signal)
    return undone === undefined ? planned : await expectPointingBack(typesense, planned, undone)
  } catch (thrown) {
    signal.throwIfAborted()
    const error = toSyncError(thrown)
    if (undone === undefined || !error.code.startsWith('search-')) throw error
    const notices = error.details.length > 0 ? error.details : [error.message]
    return [...sorted.atTarget, ...sorted.later].map(([alias]) => ({
      alias,
      mode: 'full',
      reason: 'the search index cannot follow as it is now: the undo goes on, and leaves it stale',
      notices,
    }))
  }
}

const LATER = 'its tables are made by this job: whether the mapping fits them is seen then'

/** Each collection where it can be tried; the findings of all of them at once. */
async function planAll(
  typesense: Typesense,
  { source, session }: SearchRequest,
  { atSource, atTarget, later }: Sorted,
  signal: AbortSignal,
): Promise<PlannedCollection[]> {
  const findings = new Set<string>()
  const planned: PlannedCollection[] = []
  const plan = async (mappings: Collection[], where: Session, checkRows: boolean): Promise<void> => {
    try {
      const request = { typesense, mappings, session: where, checkRows, full: false }
      planned.push(...(await planReindex(request, signal)).map(viewPlanned))
    } catch (thrown) {
      if (!(thrown instanceof SyncError) || thrown.code !== 'search-not-ready') throw thrown
      for (const finding of thrown.details) findings.add(finding)
    }
  }
  if (source && atSource.length > 0) await plan(atSource, source, true)
  // Without any the server is looked at all the same.
  if (atTarget.length > 0 || atSource.length === 0) await plan(atTarget, session, false)
  if (findings.size > 0) throw notReady([...findings])
  return [...planned, ...later.map(([alias]) => ({ alias, mode: 'full' as const, reason: LATER, notices: [] }))]
}

/** Where the generation that the undone job moved the alias away from is still there, the alias goes back to it. */
async function expectPointingBack(
  typesense: Typesense,
  planned: PlannedCollection[],
  undone: string,
): Promise<PlannedCollection[]> {
  const generations = (await typesense.listCollections()).flatMap((collection) => readGeneration(collection) ?? [])
  const reason = `the collection that job ${undone} had replaced is kept`
  return planned.map((one) =>
    generations.some(
      ({ alias, replaced_by, state }) => alias === one.alias && replaced_by === undone && state === 'complete',
    )
      ? { ...one, mode: 'pointed-back', reason }
      : one,
  )
}
