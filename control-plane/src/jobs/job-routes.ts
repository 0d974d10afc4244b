import { createJobBodySchema, createJobSchema, jobViewSchema, undoJobSchema } from '@multiboard-sync/shared/protocol'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { describe, pathIds, type Description } from '../web/describe.ts'
import { linkHeader, linkToNext, pageOf, pageQuery } from '../web/page.ts'
import { parseBody, parseInput, readBody } from '../web/read-body.ts'
import { cancelJob } from './cancel-job.ts'
import { changedTarget } from './check-undo.ts'
import { createJob } from './create-job.ts'
import { findJobByPath, requireJobId, viewJob } from './job-row.ts'
import { jobPageSchema, listJobs } from './list-jobs.ts'

const keySchema = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, '1 to 200 visible characters')
    .optional(),
})

function readKey(header: string | undefined): string | undefined {
  return parseInput(keySchema, { 'idempotency-key': header })['idempotency-key']
}

/** What people do with jobs. */
export function jobRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>()
    .post('/jobs', describe(asking), async (c) => {
      const key = readKey(c.req.header('idempotency-key'))
      const input = parseBody(createJobSchema, await readBody(c.req.raw), 'person')
      const job = await createJob(database, input, c.get('person').name, key)
      c.header('location', `/v1/jobs/${job.id}`)
      return c.json(viewJob(job), 201)
    })
    .get('/jobs', describe(listing), async (c) => {
      const { jobs, next } = await listJobs(database, parseInput(jobPageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ jobs: jobs.map(viewJob), next: next ?? null })
    })
    .get('/jobs/:id', describe(seeing), async (c) => c.json(viewJob(await findJobByPath(database, c.req.param('id')))))
    .post('/jobs/:id/undo', describe(undoing), async (c) => {
      const key = readKey(c.req.header('idempotency-key'))
      const body = await readBody(c.req.raw)
      const { dry_run, start_within_seconds } = parseBody(undoJobSchema, body === '' ? '{}' : body, 'person')
      const undone = await findJobByPath(database, c.req.param('id'))
      const params = { kind: 'undo' as const, target: changedTarget(undone), job: undone.id, dry_run }
      const job = await createJob(
        database,
        { agent: undefined, start_within_seconds, params },
        c.get('person').name,
        key,
      )
      c.header('location', `/v1/jobs/${job.id}`)
      return c.json(viewJob(job), 201)
    })
    .post('/jobs/:id/cancel', describe(canceling), async (c) =>
      c.json(viewJob(await cancelJob(database, requireJobId(c.req.param('id')), c.get('person').name))),
    )
}

const tag = 'jobs'
const location = { Location: 'Path of the job.' }
/** What can be said of a job before its agent is asked. */
const refusals = [
  'agent-unknown',
  'database-unknown',
  'archive-unknown',
  'archive-too-old',
  'policy-denied',
  'target-protected',
  'same-database',
  'table-unknown',
  'collection-unknown',
  'search-not-configured',
  'window-closed',
  'too-many-jobs',
] as const

const asking: Description = {
  summary: 'Asks for a job',
  description:
    'The agent that shall do it is chosen by what the agents said of their policies; the agent decides again.',
  tag,
  by: 'person',
  body: createJobBodySchema,
  idempotent: true,
  answers: { 201: { what: 'The job, queued.', schema: jobViewSchema, headers: location } },
  problems: [...refusals, 'nothing-to-undo', 'conflict'],
}

const listing: Description = {
  summary: 'Lists jobs, newest first',
  description: 'Results come without `plan` and `proof`.',
  tag,
  by: 'person',
  query: pageQuery,
  revalidated: true,
  answers: { 200: { what: 'One page.', schema: pageOf('jobs', jobViewSchema), headers: linkHeader } },
}

const seeing: Description = {
  summary: 'Shows a job',
  tag,
  by: 'person',
  path: pathIds.job,
  revalidated: true,
  answers: { 200: { what: 'The job, whole.', schema: jobViewSchema } },
}

const undoing: Description = {
  summary: 'Asks for the undo of a job',
  description: 'A job of its own that puts back what the job replaced in its target.',
  tag,
  by: 'person',
  path: pathIds.job,
  body: undoJobSchema,
  isBodyOptional: true,
  idempotent: true,
  answers: { 201: { what: 'The undo, queued.', schema: jobViewSchema, headers: location } },
  problems: [...refusals, 'nothing-to-undo', 'conflict'],
}

const canceling: Description = {
  summary: 'Stops a job',
  description: 'A job that an agent has begun is told with its next report, and stops unless it has begun to swap.',
  tag,
  by: 'person',
  path: pathIds.job,
  idempotent: true,
  answers: { 200: { what: 'The job as it is now. A second time changes nothing.', schema: jobViewSchema } },
  problems: ['job-finished', 'too-late', 'conflict'],
}
