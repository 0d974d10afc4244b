import { isFinished, type JobState } from '@multiboard-sync/shared/job-state'
import type { PollReply, PollRequest } from '@multiboard-sync/shared/protocol'
import type { ControlPlane } from '../control-plane.ts'
import { claimJob } from '../jobs/claim-job.ts'
import { agentKey } from '../web/limit-callers.ts'
import { countCall, refuseOver, type Counted } from '../web/limit-rate.ts'
import { isOverdue, settleOverdue } from '../jobs/settle-overdue.ts'

// Idle polls cost money on functions; somebody who has just clicked waits two seconds at most.
const IDLE_POLL_MS = 12_000
const BUSY_POLL_MS = 2000

/**
 * One poll: writes down what the agent says of itself, gives it at most one order, and names the jobs it must stop.
 * An idle poll is one statement. An order that nobody has answered is given again to the same poll (its jti) and to the
 * same boot of the agent: the answer with it may have been lost. Not to another boot: two daemons that run under one
 * name by mistake must not both get it.
 */
export async function poll(
  control: ControlPlane,
  agent: { id: string; jti: string; clockSkewMs?: number },
  request: PollRequest,
): Promise<PollReply> {
  const seen = await recordPoll(control, agent, request)
  if (seen.overdue) await settleOverdue(control.database)
  const isFree = request.running.length < request.policy.limits.concurrent_jobs
  const mayClaim = isFree && seen.given === null && seen.waiting
  const order =
    seen.given ??
    (mayClaim
      ? await claimJob(control, { ...agent, bootId: request.boot_id, policySha256: request.policy_sha256 })
      : undefined)
  return {
    poll_after_ms: seen.people_are_here ? BUSY_POLL_MS : IDLE_POLL_MS,
    ...(order === undefined ? {} : { order }),
    cancel: jobsToStop(request.running, seen.known),
  }
}

interface KnownJob {
  id: string
  epoch: number
  state: JobState
  cancel: boolean
}

interface Seen extends Counted {
  people_are_here: boolean
  overdue: boolean
  waiting: boolean
  given: string | null
  known: KnownJob[]
}

function jobsToStop(running: PollRequest['running'], known: readonly KnownJob[]): string[] {
  const mayGoOn = (job: string, epoch: number): boolean =>
    known.some(
      ({ id, epoch: current, state, cancel }) => id === job && current === epoch && !cancel && !isFinished(state),
    )
  return running.filter(({ job, epoch }) => !mayGoOn(job, epoch)).map(({ job }) => job)
}

async function recordPoll(
  { database, limits }: ControlPlane,
  agent: { id: string; jti: string; clockSkewMs?: number },
  request: PollRequest,
): Promise<Seen> {
  const [seen] = await database.query<Seen>(writeAndLook, [
    agent.id,
    agent.jti,
    request.running.map(({ job }) => job),
    request.version,
    request.boot_id,
    JSON.stringify(request.policy),
    request.policy_sha256,
    JSON.stringify(request.trusted_kids),
    JSON.stringify(request.databases),
    agent.clockSkewMs ?? null,
    agentKey(agent.id),
  ])
  if (!seen) throw new Error('a poll returned no row')
  refuseOver(seen, limits.agent)
  return seen
}

const writeAndLook = `
  with seen as (
    update multiboard.agents set
      last_seen_at = now(), version = $4, boot_id = $5, policy = $6, policy_sha256 = $7, trusted_kids = $8, databases = $9,
      clock_skew_ms = $10
    where id = $1
  ), counted as (${countCall('$11')})
  select counted.calls, counted.wait_s,
    (select at > now() - interval '10 minutes' from multiboard.people_activity) as people_are_here,
    exists (select from multiboard.jobs where ${isOverdue}) as overdue,
    exists (select from multiboard.jobs where agent = $1 and state = 'queued') as waiting,
    (
      select order_jws from multiboard.jobs
      where agent = $1 and state = 'leased' and lost_at > now() and id <> all($3)
        and (leased_jti = $2 or leased_boot = $5)
      order by leased_jti = $2 desc, created_at limit 1
    ) as given,
    (
      select coalesce(jsonb_agg(jsonb_build_object(
        'id', id, 'epoch', epoch, 'state', state, 'cancel', cancel_requested_at is not null
      )), '[]')
      from multiboard.jobs where agent = $1 and id = any($3)
    ) as known
  from counted
`
