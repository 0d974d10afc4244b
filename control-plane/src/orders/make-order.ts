import { ORDER_MAX_AGE_S, type Order } from '@multiboard-sync/shared/order'
import type { JobRow } from '../jobs/job-row.ts'

/** The claims of a job's order. Pure but for the clock. */
export function makeOrder(facts: {
  job: Pick<JobRow, 'id' | 'agent' | 'kind' | 'params' | 'requested_by'>
  epoch: number
  fence: number
  issuer: string
  jti: string
  policySha256: string
}): Order {
  const { job, epoch, fence } = facts
  const issuedAt = Math.floor(Date.now() / 1000)
  return {
    iss: facts.issuer,
    aud: `agent:${job.agent}`,
    iat: issuedAt,
    nbf: issuedAt,
    exp: issuedAt + ORDER_MAX_AGE_S,
    jti: facts.jti,
    job: { id: job.id, kind: job.kind, epoch, fence },
    requester: job.requested_by,
    params: job.params,
    policy_sha256: facts.policySha256,
  }
}
