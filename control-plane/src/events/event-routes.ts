import { jobEventSchema } from '@multiboard-sync/shared/event'
import { isFinished } from '@multiboard-sync/shared/job-state'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import { findJobByPath, stateNow } from '../jobs/job-row.ts'
import type { PersonEnv } from '../people/person.ts'
import { describe, pathIds, type Description } from '../web/describe.ts'
import { describeError } from '../web/log.ts'
import { ProblemError } from '../web/problem.ts'
import { parseInput } from '../web/read-body.ts'
import { sseResponse } from '../web/sse-response.ts'
import { listEvents } from './list-events.ts'
import { streamEvents } from './stream-events.ts'
import { takeSlot, type StreamSlot } from './stream-slot.ts'
import { makeTicket } from './stream-ticket.ts'

// Positions are PostgreSQL integers.
const positionSchema = z.coerce.number().int().min(0).max(2_147_483_647)
const querySchema = z.object({
  after: positionSchema.default(0),
  limit: z.coerce.number().int().min(1).max(500).default(200),
})

// A closed browser's stream frees its place within a minute.
const TOO_MANY_RETRY_AFTER_S = 60

/** GET /v1/jobs/:id/events: a stream for whoever accepts text/event-stream, one page of JSON otherwise. */
export function eventRoutes(control: ControlPlane) {
  const { database, log, stopping, stream } = control
  return new Hono<PersonEnv>()
    .get('/jobs/:id/events', describe(reading), async (c) => {
      const { after, limit } = parseInput(querySchema, c.req.query())
      const job = await findJobByPath(database, c.req.param('id'))
      c.header('vary', 'accept')
      // Nobody reads the body of a HEAD, and so nobody would end its stream.
      if (c.req.method === 'HEAD' || !c.req.header('accept')?.includes('text/event-stream')) {
        const events = await listEvents(database, job.id, after, limit)
        return c.json({ events, next_after: events.at(-1)?.pos ?? after, last_pos: job.last_pos })
      }
      const lastEventId = c.req.header('last-event-id')
      const from = lastEventId ? parseInput(positionSchema, lastEventId) : after
      // Everything was seen: 204 tells an EventSource to stay away.
      if (from > 0 && from >= job.last_pos && isFinished(stateNow(job))) return c.body(null, 204)
      const slot = await takeSlot(database, c.get('person').name)
      if (!slot) throw tooManyStreams()
      return sseResponse({
        make: (signal) => whileHeld(slot, streamEvents(database, job, from, stream, signal), stream.heartbeatMs),
        endedBy: [stopping, c.req.raw.signal],
        onEnd: async () => await slot.free(),
        onError: (error) => log({ level: 'error', event: 'stream-failed', job: job.id, ...describeError(error) }),
      })
    })
    .post('/jobs/:id/stream-ticket', describe(ticketing), async (c) => {
      const { id } = await findJobByPath(database, c.req.param('id'))
      const { ticket, expiresAt } = await makeTicket(control, id, c.get('person'))
      const url = `${control.origin}/v1/jobs/${id}/events?ticket=${ticket}`
      return c.json({ ticket, url, expires_at: expiresAt.toISOString() }, 201)
    })
}

/** Passes the frames on, and renews the slot with each heartbeat. A stream that lost its slot ends: its client comes back. */
async function* whileHeld(
  slot: StreamSlot,
  frames: AsyncGenerator<string, void>,
  heartbeatMs: number,
): AsyncGenerator<string, void> {
  let keptAt = performance.now()
  for await (const frame of frames) {
    yield frame
    if (performance.now() - keptAt < heartbeatMs) continue
    if (!(await slot.keep())) return
    keptAt = performance.now()
  }
}

function tooManyStreams(): ProblemError {
  return new ProblemError('rate-limited', 'You have five event streams open.', {
    hint: 'Close one: other pages, or programs with the same token. What has died is forgotten within a minute.',
    retryAfterS: TOO_MANY_RETRY_AFTER_S,
  })
}

const reading = {
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
} as const satisfies Description

const ticketing = {
  summary: "Makes a ticket for a job's event stream",
  description:
    'For a browser at another origin, whose EventSource can send no header. Good for this job alone, for ten minutes, ' +
    'as often as needed within them. Treat the URL as a password: it can be in the logs of proxies.',
  tag: 'jobs',
  by: 'person',
  path: pathIds.job,
  answers: {
    201: {
      what: 'The ticket, and the address with it.',
      schema: z.object({ ticket: z.string(), url: z.url(), expires_at: z.iso.datetime() }),
    },
  },
} as const satisfies Description
