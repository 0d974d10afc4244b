import {
  createJobBodySchema,
  createJobSchema,
  jobViewSchema,
  undoJobSchema,
  type JobView,
} from '@multiboard-sync/shared/protocol'
import { Hono } from 'hono'
import type { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import type { Database } from '../store/open-database.ts'
import { answerOnce, type Answer } from '../web/answer-once.ts'
import { describe, pathIds, type Description } from '../web/describe.ts'
import { linkHeader, linkToNext, pageOf, pageQuery } from '../web/page.ts'
import { parseBody, parseInput, readBody } from '../web/read-body.ts'
import { cancelJob } from './cancel-job.ts'
import { changedTarget } from './check-undo.ts'
import { createJob } from './create-job.ts'
import { findJobByPath, readJob, requireJobId, viewJob, type JobRow } from './job-row.ts'
import { jobPageSchema, listJobs } from './list-jobs.ts'

/** What people do with jobs. */
export function jobRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>()
    .post('/jobs', describe(asking), async (c) => {
      const input = parseBody(createJobSchema, await readBody(c.req.raw), 'person')
      const { body, status } = await answerOnce(c, database, { input }, async (once) =>
        queued(await createJob(once, input, c.get('person').name)),
      )
      return c.json(body, status)
    })
    .get('/jobs', describe(listing), async (c) => {
      const { jobs, next } = await listJobs(database, parseInput(jobPageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ jobs: jobs.map(viewJob), next: next ?? null })
    })
    .get('/jobs/:id', describe(seeing), async (c) => c.json(viewJob(await findJobByPath(database, c.req.param('id')))))
    .post('/jobs/:id/undo', describe(undoing), async (c) => {
      const text = await readBody(c.req.raw)
      const input = parseBody(undoJobSchema, text === '' ? '{}' : text, 'person')
      const id = requireJobId(c.req.param('id'))
      const { body, status } = await answerOnce(c, database, { input }, async (once) =>
        queued(await undoJob(once, id, input, c.get('person').name)),
      )
      return c.json(body, status)
    })
    .post('/jobs/:id/cancel', describe(canceling), async (c) => {
      const id = requireJobId(c.req.param('id'))
      const { body, status } = await answerOnce(c, database, { input: null }, async (once) => {
        const job = await cancelJob(once, id, c.get('person').name)
        return { status: 200, body: viewJob(job) }
      })
      return c.json(body, status)
    })
}

async function undoJob(
  once: Database,
  id: string,
  { dry_run, start_within_seconds }: z.output<typeof undoJobSchema>,
  person: string,
): Promise<JobRow> {
  const undone = await readJob(once, id)
  const params = { kind: 'undo' as const, target: changedTarget(undone), job: undone.id, dry_run }
  return await createJob(once, { agent: undefined, start_within_seconds, params }, person)
}

function queued(job: JobRow): Answer<JobView, 201> {
  return { status: 201, body: viewJob(job), location: `/v1/jobs/${job.id}` }
}

const tag = 'jobs'
const location = { Location: 'Path of the job.' }
/** What can be said of a job before its agent is asked. */
const refusals = [
  'agent-unknown',
  'agent-revoked',
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

const asking = {
  summary: 'Asks for a job',
  description:
    'The agent that shall do it is chosen by what the agents said of their policies; the agent decides again.',
  tag,
  by: 'person',
  body: createJobBodySchema,
  idempotent: true,
  answers: { 201: { what: 'The job, queued.', schema: jobViewSchema, headers: location } },
  // The last three of an undo.
  problems: [...refusals, 'not-found', 'nothing-to-undo', 'conflict'],
} as const satisfies Description

const listing = {
  summary: 'Lists jobs, newest first',
  description: 'Results come without `plan` and `proof`.',
  tag,
  by: 'person',
  query: pageQuery,
  revalidated: true,
  answers: { 200: { what: 'One page.', schema: pageOf('jobs', jobViewSchema), headers: linkHeader } },
} as const satisfies Description

const seeing = {
  summary: 'Shows a job',
  tag,
  by: 'person',
  path: pathIds.job,
  revalidated: true,
  answers: { 200: { what: 'The job, whole.', schema: jobViewSchema } },
} as const satisfies Description

const undoing = {
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
} as const satisfies Description

const canceling = {
  summary: 'Stops a job',
  description: 'A job that an agent has begun is told with its next report, and stops unless it has begun to swap.',
  tag,
  by: 'person',
  path: pathIds.job,
  idempotent: true,
  answers: { 200: { what: 'The job as it is now. A second time changes nothing.', schema: jobViewSchema } },
  problems: ['job-finished', 'too-late', 'conflict'],
} as const satisfies Description
