import type { Mapping } from '@multiboard-sync/shared/mapping'
import { collectionsOf } from '@multiboard-sync/shared/policy'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { JobParams } from '@multiboard-sync/shared/job'
import type { AgentContext, Job, JobRun } from './context.ts'
import { reindexRunOf } from './follow-rows.ts'
import { tellPlan, viewPlanned } from './plan-search.ts'
import { viewOfReindex } from './plan/view-of.ts'
import { lockTarget, openTarget } from './postgres/open-target.ts'
import { openSession, type Session } from './postgres/session.ts'
import { openForReindex } from './reindex/preflight/open-for-reindex.ts'
import { planReindex } from './reindex/preflight/plan-reindex.ts'
import { reindex } from './reindex/reindex.ts'

/**
 * The job `reindex`: collections follow the rows of their database, which is only read. Its lock is held, so that no other
 * job exchanges the rows meanwhile or writes to the same collections. Throws what refuses it, and why the first collection
 * stayed stale; the run's facts tell of each.
 */
export async function reindexAlone(
  context: AgentContext,
  job: Job,
  run: JobRun,
  params: Extract<JobParams, { kind: 'reindex' }>,
): Promise<void> {
  const { policy } = context
  const aliases = [...new Set(params.collections ?? collectionsOf(policy, params.source))]
  const mappings = aliases.flatMap((alias): [string, Mapping][] => {
    const mapping = policy.collections[alias]
    return mapping ? [[alias, mapping]] : []
  })
  const database = context.databaseUrl(params.source)
  await using rows = await openRows(context, run, params.source)
  await using typesense = await openForReindex(async () => await context.openTypesense(run.signal))
  const request = { typesense, mappings, session: rows.session, checkRows: true, full: params.full === true }
  const planned = await planReindex(request, run.signal)
  tellPlan(run, planned.map(viewPlanned))
  run.facts.planView = viewOfReindex(
    params.source,
    planned.flatMap(({ compiled }) => compiled.tables),
  )
  if (run.dryRun) return
  run.reporter.phase('reindexing')
  await run.journal.record('reindexing', { source: params.source, aliases })
  const reindexRun = reindexRunOf(context, job, run, typesense, database)
  const { search, error } = await reindex(reindexRun, planned, { reopen: context.openTypesense })
  run.facts.search = search
  if (error) throw error
}

/** With the database's lock, unless nothing is written anyway. */
async function openRows(
  context: AgentContext,
  { signal, dryRun }: JobRun,
  name: string,
): Promise<AsyncDisposable & { session: Session }> {
  const database = context.databaseUrl(name)
  if (!dryRun && context.policy.databases[name]?.role !== 'source') {
    try {
      return await openTarget(database, signal)
    } catch (thrown) {
      if (toSyncError(thrown).code !== 'database-read-only') throw thrown
    }
  }
  const session = await openSession(database, { purpose: 'reindex', signal, readOnly: true })
  try {
    // Two at once would send documents of an older snapshot over those of a younger one.
    if (!dryRun) await lockTarget(session)
    return { session, [Symbol.asyncDispose]: async () => await session.close() }
  } catch (error) {
    session.destroy()
    throw error
  }
}
