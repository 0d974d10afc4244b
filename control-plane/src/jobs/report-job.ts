import type { AgentEvent } from '@multiboard-sync/shared/event'
import { isTooLateToCancel, nextState } from '@multiboard-sync/shared/job-state'
import type { ReportReply, ReportRequest } from '@multiboard-sync/shared/protocol'
import { appendAudit } from '../audit/append-audit.ts'
import type { ControlPlane } from '../control-plane.ts'
import { agentEvent, appendEvents, controlEvent } from '../events/append-events.ts'
import { ProblemError } from '../web/problem.ts'
import { capEvents } from './cap-events.ts'
import { lockJobOfAgent, renewLease, requireLease } from './hold-lease.ts'

// An agent that reports is at work: one request per two seconds keeps viewers close and costs little.
const NEXT_BATCH_MS = 2000
// Somebody who has just clicked waits two seconds at most, as in poll.ts, also when the job has nothing new to tell.
const RENEW_WHILE_WATCHED_MS = 2000

/**
 * A running job's sign of life: renews the lease, brings a lost job back while its fence is still the newest, keeps the
 * progress, appends the events that are new. Sending the same batch again changes nothing; a gap is a 416 `event-gap`
 * that says up to where the events are known.
 */
export async function reportJob(
  { database, lease }: ControlPlane,
  agent: string,
  id: string,
  request: ReportRequest,
): Promise<ReportReply> {
  return await database.transaction(async (transaction) => {
    const job = await lockJobOfAgent(transaction, id, agent)
    await requireLease(transaction, job, request.epoch)
    const cancelAsked = job.cancel_requested_at !== null
    const state = nextState(job.state, { type: 'report', cancelAsked })
    const fresh = newEvents(request.events, job.last_aseq)
    const ackAseq = job.last_aseq + fresh.length
    const [written] = await transaction.query<{ people_are_here: boolean }>(writeReport, [
      job.id,
      lease.leaseMs,
      lease.graceMs,
      state,
      // A renewal of the agent's other thread, sent before, may be overtaken on its way: what has begun to swap has.
      job.phase !== null && isTooLateToCancel(job.phase) && !isTooLateToCancel(request.phase)
        ? job.phase
        : request.phase,
      // An agent asleep for weeks must not overflow the column.
      Math.min(request.stalled_ms, 2 ** 31 - 1),
      request.progress ? JSON.stringify(request.progress) : null,
      ackAseq,
    ])
    const revived = job.state === 'lost' ? [controlEvent('job.revived', {}, 'warning')] : []
    const { kept, told } = capEvents(fresh, job.last_pos)
    const events = [...kept.map((event) => agentEvent(event, job.epoch)), ...told]
    await appendEvents(transaction, job.id, [...revived, ...events])
    if (job.state === 'lost') {
      const { epoch } = request
      const entry = { actor: `agent:${agent}`, action: 'job.revived', object: `job:${job.id}`, detail: { epoch } }
      await appendAudit(transaction, entry)
    }
    return {
      lease_ms: lease.leaseMs,
      cancel: cancelAsked,
      ack_aseq: ackAseq,
      next_batch_ms: NEXT_BATCH_MS,
      ...(written?.people_are_here ? { renew_after_ms: RENEW_WHILE_WATCHED_MS } : {}),
    }
  })
}

const writeReport = `
  update multiboard.jobs set ${renewLease},
    state = $4, phase = $5, stalled_ms = $6, target_state = 'untouched',
    started_at = coalesce(started_at, now()),
    progress = coalesce($7::jsonb, progress),
    progress_rev = progress_rev + case when $7::jsonb is null then 0 else 1 end,
    last_aseq = $8
  where id = $1
  returning (select at > now() - interval '10 minutes' from multiboard.people_activity) as people_are_here
`

/** The events after `last`, without gaps. Throws `event-gap`. */
function newEvents(events: readonly AgentEvent[], last: number): AgentEvent[] {
  const fresh: AgentEvent[] = []
  for (const event of events.toSorted((a, b) => a.aseq - b.aseq)) {
    const expected = last + fresh.length + 1
    if (event.aseq > expected) {
      const hint = 'Send the events after ack_aseq again.'
      throw new ProblemError('event-gap', `Event ${expected} is missing.`, { ack_aseq: last, hint })
    }
    if (event.aseq === expected) fresh.push(event)
  }
  return fresh
}
