import { nextState } from '@multiboard-sync/shared/job-state'
import type { CompleteRequest } from '@multiboard-sync/shared/protocol'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { isFinished } from '@multiboard-sync/shared/job-state'
import { auditEnd } from '../audit/audit-job.ts'
import { storeArchives } from '../archives/store-archives.ts'
import type { ControlPlane } from '../control-plane.ts'
import { appendEvents, endEvent } from '../events/append-events.ts'
import type { Queries } from '../store/open-database.ts'
import { lockJobOfAgent, renewLease, requireEpoch, requireLease } from './hold-lease.ts'
import type { JobRow } from './job-row.ts'

interface Completion {
  /** 202 while events up to last_aseq are missing: the job is not ended yet, and its lease is renewed. */
  status: 200 | 202
  reply: { state: string; ack_aseq: number }
}

/**
 * The end of a job, by its agent: only this makes a job succeed. The same completion again is a 200 again; another one
 * is `job-finished`. A lost job is completed too while its fence is the newest: the agent came back with the truth.
 */
export async function completeJob(
  { database, lease }: ControlPlane,
  agent: string,
  id: string,
  request: CompleteRequest,
): Promise<Completion> {
  return await database.transaction(async (transaction): Promise<Completion> => {
    const job = await lockJobOfAgent(transaction, id, agent)
    if (isFinished(job.state)) return await repeat(transaction, job, request)
    await requireLease(transaction, job, request.epoch)
    if (request.last_aseq > job.last_aseq) {
      const state = nextState(job.state, { type: 'report', cancelAsked: job.cancel_requested_at !== null })
      await transaction.query(`update multiboard.jobs set ${renewLease}, state = $4 where id = $1`, [
        job.id,
        lease.leaseMs,
        lease.graceMs,
        state,
      ])
      return { status: 202, reply: { state, ack_aseq: job.last_aseq } }
    }
    const { result } = request
    const state = nextState(job.state, { type: 'complete', outcome: result.outcome })
    const { code = null, message = null, hint = null, target_state } = result
    await transaction.query(writeEnd, [job.id, state, target_state, JSON.stringify(result), code, message, hint])
    const archives = [result.archive, result.safety_backup].filter((archive) => archive !== undefined)
    await storeArchives(transaction, agent, archives)
    await appendEvents(transaction, job.id, [endEvent(state, { target_state, code, message, hint })])
    await auditEnd(transaction, job.id, `agent:${agent}`, { state, target_state, code, epoch: request.epoch })
    return { status: 200, reply: { state, ack_aseq: job.last_aseq } }
  })
}

async function repeat(transaction: Queries, job: JobRow, request: CompleteRequest): Promise<Completion> {
  requireEpoch(job, request.epoch)
  const same = await transaction.query('select from multiboard.jobs where id = $1 and result = $2::jsonb', [
    job.id,
    JSON.stringify(request.result),
  ])
  if (same.length === 1) return { status: 200, reply: { state: job.state, ack_aseq: job.last_aseq } }
  throw new SyncError('job-finished', `The job has already ended as ${job.state}.`)
}

const writeEnd = `
  update multiboard.jobs set
    state = $2, target_state = $3, result = $4, code = $5, message = $6, hint = $7,
    started_at = coalesce(started_at, now()), finished_at = now()
  where id = $1
`
