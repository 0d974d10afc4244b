import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { PlanView } from '@multiboard-sync/shared/plan'
import { openArchive } from './archive/archive-reader.ts'
import { changed } from './changed-tables.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import { followRows } from './follow-rows.ts'
import { planSearch } from './plan-search.ts'
import { allowJob } from './plan/allow-job.ts'
import type { Target } from './postgres/open-target.ts'
import { recordChanges } from './replace-tables.ts'
import { restoreArchive } from './restore-archive.ts'
import { findUndoable, undo, type Undoable } from './restore/undo.ts'

/**
 * Takes back what a job changed: its previous tables are swapped in again, or where they are gone its safety backup is
 * restored, which is a job of its own with plan, proof and backup. The search follows, and never hinders it. Throws `nothing-to-undo`.
 */
export async function undoJob(
  context: AgentContext,
  job: Job,
  run: JobRun,
  target: Target,
  undone: string,
): Promise<void> {
  const undoable = await findUndoable(target.session, undone)
  if (undoable.previous) {
    run.facts.engine = 'swap'
    run.facts.planView = planOf(target, undoable, undoable.previous)
    const aliases = await planSearch(context, job, run, {
      target: target.database.name,
      session: target.session,
      tables: changed(undoable.previous.tables),
      isCreated: false,
      route: undefined,
    })
    if (run.dryRun) return
    const { receipt, kept } = await undo(
      target,
      {
        undoable,
        job: job.id,
        epoch: job.epoch,
        fence: job.fence,
        lockAttempts: context.policy.limits.lock_attempts,
      },
      { ...run, ...recordChanges(run, target) },
    )
    Object.assign(run.facts, { receipt, undoable: kept !== undefined, tables: undoable.previous.tables.length })
    await followRows(context, job, run, { target: target.database, aliases })
    return
  }
  if (undoable.safetyBackup === undefined) {
    throw new SyncError('nothing-to-undo', `Job ${undone} has replaced nothing: it has no safety backup.`, {
      hint: 'Drop the tables that it created yourself, if that is meant.',
    })
  }
  const archive = await openArchive(context, undoable.safetyBackup, run.signal)
  const route = await allowJob(
    context,
    { kind: 'restore', archive: undoable.safetyBackup, target: target.database.name, engine: 'auto' },
    run,
    archive.manifest,
  )
  await restoreArchive(context, job, run, { archive, target, engine: 'auto', route })
}

function planOf({ database }: Target, { job }: Undoable, previous: NonNullable<Undoable['previous']>): PlanView {
  const { tables, bytes } = previous
  return {
    kind: 'undo',
    source: database.name,
    target: database.name,
    engine: 'swap',
    reason: `the tables that job ${job} replaced are kept`,
    tables: tables.map((table) => ({ name: formatTableName(table), rows: 0, bytes: 0 })),
    table_count: tables.length,
    rows: 0,
    bytes,
    remade: [],
    outside_foreign_keys: [],
    locks: `readers wait a few milliseconds for ${formatNumberOf(tables.length, 'table')}`,
    disk_bytes: 0,
    seconds: 1,
    notices: [
      'what was written since that job is kept in the tables that are put aside, and comes back by an undo of this undo',
    ],
  }
}
