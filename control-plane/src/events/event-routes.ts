import { jobEventSchema } from '@multiboard-sync/shared/event'
import { isFinished } from '@multiboard-sync/shared/job-state'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import { findJobByPath, stateNow } from '../jobs/job-row.ts'
import type { PersonEnv } from '../people/person.ts'
import { describe, pathIds, type Description } from '../web/describe.ts'
import { describeError } from '../web/log.ts'
import { parseInput } from '../web/read-body.ts'
import { sseResponse } from '../web/sse-response.ts'
import { listEvents } from './list-events.ts'
import { streamEvents } from './stream-events.ts'

// Positions are PostgreSQL integers.
const positionSchema = z.coerce.number().int().min(0).max(2_147_483_647)
const querySchema = z.object({
  after: positionSchema.default(0),
  limit: z.coerce.number().int().min(1).max(500).default(200),
})

/** GET /v1/jobs/:id/events: a stream for whoever accepts text/event-stream, one page of JSON otherwise. */
export function eventRoutes({ database, log, stopping, stream }: ControlPlane) {
  return new Hono<PersonEnv>().get('/jobs/:id/events', describe(reading), async (c) => {
    const { after, limit } = parseInput(querySchema, c.req.query())
    const job = await findJobByPath(database, c.req.param('id'))
    c.header('vary', 'accept')
    if (!c.req.header('accept')?.includes('text/event-stream')) {
      const events = await listEvents(database, job.id, after, limit)
      return c.json({ events, next_after: events.at(-1)?.pos ?? after, last_pos: job.last_pos })
    }
    const lastEventId = c.req.header('last-event-id')
    const from = lastEventId ? parseInput(positionSchema, lastEventId) : after
    // Everything was seen: 204 tells an EventSource to stay away.
    if (from > 0 && from >= job.last_pos && isFinished(stateNow(job))) return c.body(null, 204)
    return sseResponse(
      (signal) => streamEvents(database, job, from, stream, signal),
      [stopping, c.req.raw.signal],
      (error) => log({ level: 'error', event: 'stream-failed', job: job.id, ...describeError(error) }),
    )
  })
}

const reading: Description = {
  summary: 'Reads the events of a job, or follows them',
  description: 'Accept decides: `text/event-stream` is followed until the job has ended, anything else gets one page.',
  tag: 'jobs',
  by: 'person',
  ticket: true,
  path: pathIds.job,
  query: querySchema,
  headers: { 'Last-Event-ID': 'Of a stream that was cut: position after which to go on; before `after`.' },
  answers: {
    200: {
      what: 'Events in order.',
      schema: z.object({ events: z.array(jobEventSchema), next_after: z.int(), last_pos: z.int() }),
      stream:
        '`event` (an Event, its `id` the position), `progress` (Progress) and `job` (Job) without an id, `end` (Job) at the end.',
    },
    204: { what: 'The job has ended and everything was seen: do not come back.' },
  },
}
