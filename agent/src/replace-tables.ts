import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { OpenedArchive } from './archive/archive-reader.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import { openSource } from './postgres/open-source.ts'
import { checkRowDrop } from './plan/check-row-drop.ts'
import type { Target } from './postgres/open-target.ts'
import type { Origin } from './plan/origin.ts'
import type { Plan } from './plan/plan.ts'
import { readSource } from './plan/read-source.ts'
import type { Reporter } from './report/reporter.ts'
import type { RestoreRun } from './restore/load.ts'
import { restore } from './restore/restore.ts'
import { writeArchive } from './write-archive.ts'

export interface Replacement {
  target: Target
  plan: Plan
  archive: OpenedArchive
  origin: Origin
  tables: ArchivedTable[]
}

/**
 * The tables of a target become those of an archive, by the plan's engine, which calls for the safety backup and the
 * guard against a source that lost its rows when it suits it: always before anything live is changed.
 */
export async function replaceTables(context: AgentContext, job: Job, run: JobRun, change: Replacement): Promise<void> {
  const { target, plan, archive, origin, tables } = change
  const wanted = new Set(tables.map(formatTableName))
  const { limits } = context.policy
  const { receipt, proof, kept } = await restore(
    target,
    {
      engine: plan.engine,
      isWhole: plan.whole,
      fingerprint: plan.target_fingerprint,
      archive,
      tables,
      left: archive.manifest.tables.filter((table) => !wanted.has(formatTableName(table))),
      schema: origin.schema,
      job: job.id,
      epoch: job.epoch,
      fence: job.fence,
      protect: async (signal) => await protect(context, job, { ...run, signal }, change),
      connections: limits.connections_per_database,
      lockAttempts: limits.lock_attempts,
    },
    { ...run, ...recordChanges(run, target) },
  )
  Object.assign(run.facts, {
    receipt,
    proof,
    undoable: kept !== undefined,
    lateWrites: kept?.lateWrites,
    tables: tables.length,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    bytes: tables.reduce((sum, table) => sum + table.bytes, 0),
  })
}

/** The safety backup of what will be replaced, and the row-drop guard, which needs its exact counts. */
async function protect(
  context: AgentContext,
  job: Job,
  run: JobRun,
  { target, plan, tables }: Replacement,
): Promise<string | undefined> {
  if (plan.engine !== 'create') {
    const isBeside = plan.engine === 'swap' || plan.engine === 'merge'
    const reporter = isBeside ? factsOnly(run.reporter) : run.reporter
    await using present = await openSource(target.database, 'safety backup', run.signal)
    const asked = await readSource(present, plan.tables.map(formatTableName), undefined, run.signal)
    await writeArchive(context, job, { ...run, reporter }, asked, 'safety-backup')
  }
  checkRowDrop(plan.max_row_drop_pct, tables, run.facts.safetyBackup)
  return run.facts.safetyBackup?.id
}

/** While the tables are loaded the phase and its progress are the load's. */
function factsOnly(reporter: Reporter): Reporter {
  return { ...reporter, phase: () => undefined, progress: () => undefined }
}

/** What a restore calls when it begins to change live tables and when that is committed: what a later failure must tell. */
export function recordChanges(run: JobRun, target: Target): Pick<RestoreRun, 'changing' | 'changed'> {
  return {
    changing: () => {
      run.facts.targetState = 'rolled_back'
    },
    changed: async () => {
      run.facts.targetState = 'changed'
      await run.journal.record('committed', { target: target.database.name })
    },
  }
}
