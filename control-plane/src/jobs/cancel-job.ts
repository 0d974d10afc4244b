import { isFinished, nextState } from '@multiboard-sync/shared/job-state'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { appendAudit } from '../audit/append-audit.ts'
import { auditEnd } from '../audit/audit-job.ts'
import { appendEvents, endEvent, type NewEvent } from '../events/append-events.ts'
import type { Database } from '../store/open-database.ts'
import { jobColumns, jobUnknown, selectJob, stateNow, type JobRow } from './job-row.ts'

/**
 * Asks a job to stop. Before its lease it is canceled at once; later its agent is told, and stops unless the job is past
 * the point of no return. A second time changes nothing. Throws `not-found`, `job-finished`, and from the phase swapping
 * on `too-late`, but not for a reindex alone, which has no such point.
 */
export async function cancelJob(database: Database, id: string, person: string): Promise<JobRow> {
  return await database.transaction(async (transaction) => {
    const [job] = await transaction.query<JobRow>(`${selectJob} from multiboard.jobs where id = $1 for update`, [id])
    if (!job) throw jobUnknown()
    if (job.state === 'canceled' || job.cancel_requested_at !== null) return job
    const current = stateNow(job)
    if (current === 'succeeded' && job.target_state === 'changed') throw succeededAlready()
    const next = nextState(current, { type: 'cancel', phase: job.phase, kind: job.kind })
    // A lease that lapsed stays as it is written, so that the next poll says `job.lost` once.
    const state = current === 'lost' ? job.state : next
    const [changed] = await transaction.query<JobRow>(writeCancel, [job.id, state, isFinished(state)])
    const asked: NewEvent = {
      src: 'user',
      type: 'cancel.requested',
      level: 'info',
      at: new Date().toISOString(),
      data: { by: person },
    }
    await appendEvents(transaction, job.id, isFinished(state) ? [asked, endEvent(state)] : [asked])
    await appendAudit(transaction, { actor: person, action: 'job.canceled', object: `job:${job.id}` })
    if (isFinished(state)) await auditEnd(transaction, job.id, 'control', { state, target_state: job.target_state })
    return changed ?? job
  })
}

function succeededAlready(): SyncError {
  return new SyncError('job-finished', 'The job has already ended as succeeded.', {
    hint: 'POST /v1/jobs/:id/undo puts back what it replaced.',
  })
}

const writeCancel = `
  update multiboard.jobs set
    state = $2, cancel_requested_at = now(), finished_at = case when $3::boolean then now() end
  where id = $1
  returning ${jobColumns}
`
