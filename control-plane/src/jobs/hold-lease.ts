import { isFinished } from '@multiboard-sync/shared/job-state'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Queries } from '../store/open-database.ts'
import { jobUnknown, selectJob, type JobRow } from './job-row.ts'

/** Locks a job of this agent for the rest of the transaction. Throws `not-found`, also for another agent's job. */
export async function lockJobOfAgent(transaction: Queries, id: string, agent: string): Promise<JobRow> {
  const [job] = await transaction.query<JobRow>(
    `${selectJob} from multiboard.jobs where id = $1 and agent = $2 for update`,
    [id, agent],
  )
  if (!job) throw jobUnknown()
  return job
}

/**
 * Throws unless this epoch of the job may still speak: `stale-epoch`, `job-finished`, or `fence-superseded` when the
 * target has been given to another job since. The fence row is locked against a claim that is under way.
 */
export async function requireLease(transaction: Queries, job: JobRow, epoch: number): Promise<void> {
  requireEpoch(job, epoch)
  if (isFinished(job.state)) throw new SyncError('job-finished', `The job has already ended as ${job.state}.`)
  const [newest] = await transaction.query<{ fence: number }>(
    'select fence from multiboard.target_fences where exclusive_key = $1 for share',
    [job.exclusive_key],
  )
  if (newest?.fence !== job.fence) {
    throw new SyncError('fence-superseded', "The job's target has been given to a newer job.", {
      hint: 'Stop, change nothing more, and leave the target to the newer job.',
    })
  }
}

export function requireEpoch(job: JobRow, epoch: number): void {
  if (job.epoch === epoch) return
  throw new SyncError('stale-epoch', 'This lease of the job is not the current one.', { hint: 'Stop this run.' })
}

/** Assignments that renew a lease; $2 is its length and $3 its grace, in milliseconds. */
export const renewLease = `
  lease_expires_at = now() + $2 * interval '1 millisecond',
  lost_at = now() + ($2 + $3) * interval '1 millisecond'
`
