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
import { restore } from './restore/restore.ts'
import { writeArchive } from './write-archive.ts'

export interface Replacement {
  target: Target
  plan: Plan
  archive: OpenedArchive
  origin: Origin
  tables: ArchivedTable[]
}

/** The safety backup, then the guard against a source that lost its rows, then the one transaction that changes the target. */
export async function replaceTables(context: AgentContext, job: Job, run: JobRun, change: Replacement): Promise<void> {
  const { target, plan, archive, origin, tables } = change
  if (plan.engine !== 'create') {
    await using present = await openSource(target.database, 'safety backup', run.signal)
    const asked = await readSource(present, plan.tables.map(formatTableName), undefined, run.signal)
    await writeArchive(context, job, run, asked, 'safety-backup')
  }
  const { safetyBackup } = run.facts
  checkRowDrop(plan.max_row_drop_pct, tables, safetyBackup)
  const wanted = new Set(tables.map(formatTableName))
  run.facts.targetState = 'rolled_back'
  run.facts.receipt = await restore(
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
      safetyBackup: safetyBackup?.id,
      lockAttempts: context.policy.limits.lock_attempts,
    },
    run,
  )
  run.facts.targetState = 'changed'
  run.facts.tables = tables.length
  run.facts.rows = tables.reduce((sum, table) => sum + table.rows, 0)
  run.facts.bytes = tables.reduce((sum, table) => sum + table.bytes, 0)
  await run.journal.record('committed', { target: target.database.name })
}
