import type { AgentEvent, JobEvent } from '@multiboard-sync/shared/event'
import type { JobState } from '@multiboard-sync/shared/job-state'
import type { Queries } from '../store/open-database.ts'

export type NewEvent = Omit<JobEvent, 'pos'> & { epoch?: number; aseq?: number }

/**
 * Appends events to a job's log, in their order. `pos` comes from the job's row, under its lock: a reader that follows
 * it sees every event once (a global sequence does not give that, because transactions commit in another order).
 */
export async function appendEvents(transaction: Queries, job: string, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return
  await transaction.query(insertEvents, [job, JSON.stringify(events), events.length])
}

const insertEvents = `
  with place as (
    update multiboard.jobs set last_pos = last_pos + $3::integer where id = $1 returning last_pos - $3::integer as before
  )
  insert into multiboard.events (job, pos, src, epoch, aseq, type, level, at, data)
  select $1, place.before + e.n, e.src, e.epoch, e.aseq, e.type, e.level, e.at, e.data
  from place, rows from (
    jsonb_to_recordset($2::jsonb)
      as (src text, epoch integer, aseq integer, type text, level text, at timestamptz, data jsonb)
  ) with ordinality as e (src, epoch, aseq, type, level, at, data, n)
`

export function agentEvent(event: AgentEvent, epoch: number): NewEvent {
  const { aseq, type, level, at, data } = event
  return { src: 'agent', epoch, aseq, type, level, at, data }
}

export function controlEvent(type: string, data: NewEvent['data'] = {}, level: NewEvent['level'] = 'info'): NewEvent {
  return { src: 'control', type, level, at: new Date().toISOString(), data }
}

/** The event that says how a job ended: `job.succeeded`, `job.failed`, … */
export function endEvent(state: JobState, data: NewEvent['data'] = {}): NewEvent {
  const level = state === 'succeeded' ? 'info' : state === 'failed' || state === 'lost' ? 'error' : 'warning'
  return controlEvent(`job.${state}`, data, level)
}
