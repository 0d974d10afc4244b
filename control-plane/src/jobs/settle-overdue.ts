import { stateNow, selectJob, targetStateWhenLost, type JobRow } from './job-row.ts'
import { appendEvents, endEvent } from '../events/append-events.ts'
import { auditEnd } from '../audit/audit-job.ts'
import type { Database } from '../store/open-database.ts'

// One poll does a little; the next one goes on.
const AT_ONCE = 20

/**
 * Writes down what the clock has already decided: leases that lapsed become `lost`, orders nobody took `expired`. Of all
 * agents, or a dead agent would keep its targets from the others. Rows in use are left for the next poll.
 */
export async function settleOverdue(database: Database): Promise<void> {
  await database.transaction(async (transaction) => {
    const jobs = await transaction.query<JobRow>(selectOverdue, [AT_ONCE])
    const settled = jobs.map((job) => {
      const state = stateNow(job)
      return { id: job.id, state, target_state: state === 'lost' ? targetStateWhenLost(job) : job.target_state }
    })
    for (const { id, state, target_state } of settled) {
      await transaction.query(writeState, [id, state, target_state])
      await appendEvents(transaction, id, [endEvent(state, { target_state })])
    }
    for (const { id, ...end } of settled) await auditEnd(transaction, id, 'control', end)
  })
}

export const isOverdue = `
  state in ('queued', 'leased', 'running', 'canceling')
  and case state when 'queued' then start_before else lost_at end < now()
`

const selectOverdue = `
  ${selectJob} from multiboard.jobs where ${isOverdue} order by id limit $1 for update skip locked
`

const writeState = `
  update multiboard.jobs set state = $2, target_state = $3, finished_at = case when $2 = 'expired' then now() end
  where id = $1
`
