import type { JobEvent } from '@multiboard-sync/shared/event'
import type { Queries } from '../store/open-database.ts'

/** The job's events after a position, in order. */
export async function listEvents(queries: Queries, job: string, after: number, limit: number): Promise<JobEvent[]> {
  const rows = await queries.query<Omit<JobEvent, 'at'> & { at: Date }>(
    'select pos, src, type, level, at, data from multiboard.events where job = $1 and pos > $2 order by pos limit $3',
    [job, after, limit],
  )
  return rows.map(({ at, ...event }) => ({ ...event, at: at.toISOString() }))
}
