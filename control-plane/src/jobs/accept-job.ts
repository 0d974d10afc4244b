import { isFinished, nextState } from '@multiboard-sync/shared/job-state'
import type { AcceptRequest } from '@multiboard-sync/shared/protocol'
import type { ControlPlane } from '../control-plane.ts'
import { appendAudit } from '../audit/append-audit.ts'
import { appendEvents, controlEvent, endEvent } from '../events/append-events.ts'
import type { Queries } from '../store/open-database.ts'
import { lockJobOfAgent, renewLease, requireLease } from './hold-lease.ts'
import type { JobRow } from './job-row.ts'

/** The agent took the order, or refused it before anything was begun. Answers the lease in milliseconds. Idempotent. */
export async function acceptJob(
  { database, lease }: ControlPlane,
  agent: string,
  id: string,
  request: AcceptRequest,
): Promise<{ lease_ms: number }> {
  return await database.transaction(async (transaction) => {
    const job = await lockJobOfAgent(transaction, id, agent)
    const isRepeated = job.state === 'refused' && request.verdict === 'refused' && job.epoch === request.epoch
    if (isRepeated) return { lease_ms: 0 }
    await requireLease(transaction, job, request.epoch)
    if (request.verdict === 'refused') {
      await refuse(transaction, job, request)
      return { lease_ms: 0 }
    }
    const state = nextState(job.state, { type: 'accept' })
    await transaction.query(writeAccepted, [job.id, lease.leaseMs, lease.graceMs, state])
    if (job.started_at === null) {
      await appendEvents(transaction, job.id, [controlEvent('job.accepted')])
      const { epoch } = request
      const entry = { actor: `agent:${agent}`, action: 'job.accepted', object: `job:${job.id}`, detail: { epoch } }
      await appendAudit(transaction, entry)
    }
    return { lease_ms: lease.leaseMs }
  })
}

async function refuse(transaction: Queries, job: JobRow, request: AcceptRequest): Promise<void> {
  // Asked to cancel in the meantime: what the agent says is still the truth about the job.
  const change =
    job.state === 'canceling' ? ({ type: 'complete', outcome: 'refused' } as const) : ({ type: 'refuse' } as const)
  const state = nextState(job.state, change)
  const { code = null, message = null, hint = null } = request
  await transaction.query(writeRefused, [job.id, state, code, message, hint])
  if (isFinished(state)) await appendEvents(transaction, job.id, [endEvent(state, { code, message, hint })])
  await appendAudit(transaction, {
    actor: `agent:${job.agent}`,
    action: 'job.refused',
    object: `job:${job.id}`,
    detail: { epoch: request.epoch, code },
  })
}

const writeAccepted = `
  update multiboard.jobs set ${renewLease}, state = $4, target_state = 'untouched', started_at = coalesce(started_at, now())
  where id = $1
`

const writeRefused = `
  update multiboard.jobs set
    state = $2, code = $3, message = $4, hint = $5, target_state = 'untouched', finished_at = now()
  where id = $1
`
