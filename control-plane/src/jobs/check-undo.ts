import type { JobParams } from '@multiboard-sync/shared/job'
import { isFinished } from '@multiboard-sync/shared/job-state'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Queries } from '../store/open-database.ts'
import { jobUnknown, selectJob, stateNow, type JobRow } from './job-row.ts'

/**
 * Whether a job can be undone as asked; answers the agent that did it, which alone can undo it. The job's row is locked,
 * so that of two undos asked for at once one is refused: the second would find the previous tables gone and restore the
 * safety backup. A preview: what is still there to put back is for the agent to say. Throws `not-found`,
 * `nothing-to-undo`, `conflict`.
 */
export async function checkUndo(
  transaction: Queries,
  params: Extract<JobParams, { kind: 'undo' }>,
  askedAgent: string | undefined,
): Promise<string> {
  const [job] = await transaction.query<JobRow>(`${selectJob} from multiboard.jobs where id = $1 for update`, [
    params.job,
  ])
  if (!job) throw jobUnknown()
  const target = changedTarget(job)
  if (target !== params.target) {
    throw new SyncError('nothing-to-undo', `The job changed "${target}" and no other database.`, {
      hint: `Ask for its undo with the target "${target}", or with POST /v1/jobs/:id/undo.`,
    })
  }
  if (askedAgent !== undefined && askedAgent !== job.agent) {
    throw new SyncError('conflict', `The job was done by the agent "${job.agent}", which alone can undo it.`, {
      hint: 'Leave the agent out.',
    })
  }
  if (job.undone_by !== null) {
    throw new SyncError('nothing-to-undo', `The job was undone by ${job.undone_by}.`, {
      hint: 'A job is undone once. To have its rows back, undo the job that undid it.',
    })
  }
  if (params.dry_run === true) return job.agent
  const [under_way] = await transaction.query<{ id: string }>(selectUnderWay, [job.id])
  if (under_way) {
    throw new SyncError('conflict', `The job is already being undone by ${under_way.id}.`, {
      hint: 'Look at that job, or cancel it. Send an Idempotency-Key to ask twice for the same undo.',
    })
  }
  return job.agent
}

/** The database that a job has changed. Throws `nothing-to-undo` when it has changed none. */
export function changedTarget(job: JobRow): string {
  const { params } = job
  const state = stateNow(job)
  if (params.kind === 'export') throw nothing('An export changes no database.', 'Undo a sync, a restore or an undo.')
  if (params.kind === 'reindex') {
    throw nothing('A reindex changes no database.', 'Ask for a reindex again: it makes the index equal to the rows.')
  }
  if (params.dry_run === true) throw nothing('The job was a dry run: it changed nothing.', 'There is nothing to do.')
  if (!isFinished(state)) {
    const hint = 'Cancel it, or wait for its end. Of a lost job only its agent knows what it changed.'
    throw nothing(`The job has not ended: it is ${state}.`, hint)
  }
  if (state !== 'succeeded' || job.target_state !== 'changed') {
    const hint = 'Only a job that succeeded and changed its target can be undone.'
    throw nothing(`The job ended as ${state}, its target ${job.target_state.replace('_', ' ')}.`, hint)
  }
  return params.target
}

function nothing(message: string, hint: string): SyncError {
  return new SyncError('nothing-to-undo', message, { hint })
}

/** By the index jobs_undos. What has run out by the clock is not under way, though nobody has written it down yet. */
const selectUnderWay = `
  select id from multiboard.jobs
  where kind = 'undo' and params ->> 'job' = $1 and not params ? 'dry_run' and (
    state = 'queued' and start_before > now() or state in ('leased', 'running', 'canceling') and lost_at > now()
  )
  limit 1
`
