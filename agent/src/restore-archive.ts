import type { EngineChoice } from '@multiboard-sync/shared/job'
import type { Route } from '@multiboard-sync/shared/policy'
import type { OpenedArchive } from './archive/archive-reader.ts'
import { PRE_DATA } from './archive/object-names.ts'
import { changedOfArchive } from './changed-tables.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import { followRows } from './follow-rows.ts'
import { planSearch } from './plan-search.ts'
import { makePlan, readDefinitions } from './plan/make-plan.ts'
import { originOfArchive } from './plan/origin.ts'
import { partitionParents } from './plan/partition-parents.ts'
import { selectArchived } from './plan/select-tables.ts'
import type { Target } from './postgres/open-target.ts'
import { archivedRows, replaceTables } from './replace-tables.ts'

export interface RestoreRequest {
  archive: OpenedArchive
  target: Target
  /** Patterns; absent: all tables of the archive. */
  tables?: string[] | undefined
  engine: EngineChoice
  route: Route | undefined
}

/** An archive into a target: select, plan, replace, reindex. Ends after the plan in a dry run. */
export async function restoreArchive(
  context: AgentContext,
  job: Job,
  run: JobRun,
  { archive, target, tables: patterns, engine, route }: RestoreRequest,
): Promise<void> {
  const parents = partitionParents(await archive.readSql(PRE_DATA))
  const tables = selectArchived(archive.manifest, parents, patterns, route)
  const origin = await originOfArchive(archive, tables)
  const definitions = await readDefinitions(target, run.signal)
  const plan = await makePlan({ kind: 'restore', origin, target, definitions, engine, route }, run)
  const aliases = await planSearch(context, job, run, {
    target: target.database.name,
    session: target.session,
    tables: changedOfArchive(archive.manifest, parents, tables),
    isCreated: plan.engine === 'create',
    route,
  })
  if (run.dryRun) return
  run.facts.archive = archive.summary
  await replaceTables(context, job, run, { target, plan, origin, rows: archivedRows(archive, tables) })
  await followRows(context, job, run, { target: target.database, aliases })
}
