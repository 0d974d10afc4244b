import { randomUUID } from 'node:crypto'
import { nextState } from '@multiboard-sync/shared/job-state'
import type { ControlPlane } from '../control-plane.ts'
import { appendAudit } from '../audit/append-audit.ts'
import { appendEvents, controlEvent } from '../events/append-events.ts'
import { makeOrder } from '../orders/make-order.ts'
import { violates, type Queries } from '../store/open-database.ts'
import { selectJob, type JobRow } from './job-row.ts'

/**
 * Leases the oldest waiting job of an agent whose target is free, and answers its signed order. At most one; undefined
 * when there is none, or when another agent was faster. Never: two active jobs on one target, one poll with two orders,
 * or a fence that was raised without a lease (a live lease would then look superseded) — all of it is one transaction.
 */
export async function claimJob(
  { database, lease, origin, signer }: ControlPlane,
  agent: { id: string; jti: string; bootId: string; policySha256: string },
): Promise<string | undefined> {
  try {
    return await database.transaction(async (transaction) => {
      const [job] = await transaction.query<JobRow>(selectClaimable, [agent.id])
      if (!job) return undefined
      const state = nextState(job.state, { type: 'lease' })
      const epoch = job.epoch + 1
      const fence = await raiseFence(transaction, job.exclusive_key)
      const order = makeOrder({
        job,
        epoch,
        fence,
        issuer: origin,
        jti: randomUUID(),
        policySha256: agent.policySha256,
      })
      const token = await signer.sign(order)
      await transaction.query(writeLease, [
        job.id,
        lease.leaseMs,
        lease.graceMs,
        state,
        epoch,
        fence,
        agent.jti,
        agent.bootId,
        token,
      ])
      await appendEvents(transaction, job.id, [controlEvent('job.leased', { agent: agent.id, epoch, fence })])
      // With its jti the agent's journal knows the order too: what was signed and what was done can be compared.
      const detail = {
        agent: agent.id,
        epoch,
        fence,
        jti: order.jti,
        kid: signer.kid,
        policy_sha256: order.policy_sha256,
      }
      await appendAudit(transaction, { actor: 'control', action: 'order.signed', object: `job:${job.id}`, detail })
      return token
    })
  } catch (error) {
    if (violates(error, 'jobs_one_active_per_target') || violates(error, 'jobs_one_per_poll')) return undefined
    throw error
  }
}

const selectClaimable = `
  ${selectJob} from multiboard.jobs
  where agent = $1 and state = 'queued' and start_before > now() and not exists (
    select from multiboard.jobs busy
    where busy.exclusive_key = jobs.exclusive_key and busy.state in ('leased', 'running', 'canceling')
  )
  order by created_at, id limit 1 for update of jobs skip locked
`

const writeLease = `
  update multiboard.jobs set
    lease_expires_at = now() + $2 * interval '1 millisecond',
    lost_at = now() + ($2 + $3) * interval '1 millisecond',
    state = $4, epoch = $5, fence = $6, last_aseq = 0, leased_jti = $7, leased_boot = $8, order_jws = $9
  where id = $1
`

/**
 * A fence is at least the seconds since 2026, so that a control plane which was lost, or restored from an old backup, does
 * not begin below what its targets have seen. Fits an integer until 2094, as long as no target gets a job a second.
 */
const raiseFenceSql = `
  insert into multiboard.target_fences as t (exclusive_key, fence)
  values ($1, extract(epoch from now() - timestamptz '2026-01-01 00:00:00+00')::integer)
  on conflict (exclusive_key) do update set fence = greatest(t.fence + 1, excluded.fence)
  returning fence
`

async function raiseFence(transaction: Queries, exclusiveKey: string): Promise<number> {
  const [row] = await transaction.query<{ fence: number }>(raiseFenceSql, [exclusiveKey])
  if (!row) throw new Error('raising a fence returned no row')
  return row.fence
}
