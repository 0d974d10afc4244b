import { openArchive } from './archive/archive-reader.ts'
import { codecFor } from './archive/codec.ts'
import { changedOfSource } from './changed-tables.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import { followRows } from './follow-rows.ts'
import { together } from './lanes/together.ts'
import { openSource } from './postgres/open-source.ts'
import { allowJob, beginJob } from './plan/allow-job.ts'
import { makePlan, readDefinitions } from './plan/make-plan.ts'
import { openTarget } from './postgres/open-target.ts'
import { exportPlanOf, originOfSource } from './plan/origin.ts'
import { readSource } from './plan/read-source.ts'
import { planSearch } from './plan-search.ts'
import { reindexAlone } from './reindex-alone.ts'
import { replaceTables } from './replace-tables.ts'
import { restoreArchive } from './restore-archive.ts'
import { rowsOfSync } from './rows-of-sync.ts'
import { undoJob } from './undo-job.ts'
import { writeArchive } from './write-archive.ts'

/**
 * One job, from its parameters to its end: read, plan, replace by rows that flow through an archive, reindex. Whatever
 * throws, the target is as it was, unless `run.facts.targetState` says otherwise; the facts also tell what was done.
 */
export async function runJob(context: AgentContext, job: Job, run: JobRun): Promise<void> {
  const { params } = job
  const { signal } = run
  run.reporter.phase('preflight')
  // The others write no archive.
  if (params.kind !== 'undo' && params.kind !== 'reindex') codecFor(context.policy.archive)
  await context.store.check(signal)
  switch (params.kind) {
    case 'export': {
      const route = await allowJob(context, params, run)
      await using source = await openSource(context.databaseUrl(params.source), 'export', signal)
      const asked = await readSource(source, params.tables, route, signal)
      if (run.dryRun) {
        run.facts.exportPlan = exportPlanOf(asked)
        return
      }
      await writeArchive(context, job, run, asked, 'export')
      return
    }
    case 'sync': {
      const route = await allowJob(context, params, run)
      await using source = await openSource(context.databaseUrl(params.source), 'sync', signal)
      await using target = await openTarget(context.databaseUrl(params.target), signal)
      await beginJob(context, job, run)
      // Most of it is pg_dump on both sides, each a thread of its own.
      const [asked, definitions] = await together(
        signal,
        async (until) => await readSource(source, params.tables, route, until),
        async (until) => await readDefinitions(target, until),
      )
      const origin = originOfSource(asked)
      const { engine } = params
      const plan = await makePlan({ kind: 'sync', origin, target, definitions, engine, route }, run)
      const aliases = await planSearch(context, job, run, {
        target: params.target,
        session: target.session,
        source: source.holder,
        tables: changedOfSource(source.tables, asked.tables),
        isCreated: plan.engine === 'create',
        route,
      })
      if (run.dryRun) return
      const rows = await rowsOfSync(context, job, run, asked, plan)
      await replaceTables(context, job, run, { target, plan, origin, rows })
      // A snapshot that is held keeps the source's dead rows; the search reads the target.
      await source[Symbol.asyncDispose]()
      await followRows(context, job, run, { target: target.database, aliases })
      return
    }
    case 'restore': {
      const archive = await openArchive(context, params.archive, signal)
      const route = await allowJob(context, params, run, archive.manifest)
      await using target = await openTarget(context.databaseUrl(params.target), signal)
      await beginJob(context, job, run, archive.manifest)
      const { tables, engine } = params
      await restoreArchive(context, job, run, { archive, target, tables, engine, route })
      return
    }
    case 'undo': {
      await allowJob(context, params, run)
      await using target = await openTarget(context.databaseUrl(params.target), signal)
      await undoJob(context, job, run, target, params.job)
      return
    }
    case 'reindex':
      await allowJob(context, params, run)
      await reindexAlone(context, job, run, params)
  }
}
