import { createJobSchema } from '@multiboard-sync/shared/protocol'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/require-person.ts'
import { linkToNext } from '../web/page.ts'
import { parseBody, parseInput, readBody } from '../web/read-body.ts'
import { cancelJob } from './cancel-job.ts'
import { createJob } from './create-job.ts'
import { findJobByPath, requireJobId, viewJob } from './job-row.ts'
import { jobPageSchema, listJobs } from './list-jobs.ts'

const headersSchema = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, '1 to 200 visible characters')
    .optional(),
})

/** What people do with jobs. */
export function jobRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>()
    .post('/jobs', async (c) => {
      const headers = parseInput(headersSchema, { 'idempotency-key': c.req.header('idempotency-key') })
      const input = parseBody(createJobSchema, await readBody(c.req.raw), 'person')
      const job = await createJob(database, input, c.get('person'), headers['idempotency-key'])
      c.header('location', `/v1/jobs/${job.id}`)
      return c.json(viewJob(job), 201)
    })
    .get('/jobs', async (c) => {
      const { jobs, next } = await listJobs(database, parseInput(jobPageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ jobs: jobs.map(viewJob), next: next ?? null })
    })
    .get('/jobs/:id', async (c) => c.json(viewJob(await findJobByPath(database, c.req.param('id')))))
    .post('/jobs/:id/cancel', async (c) =>
      c.json(viewJob(await cancelJob(database, requireJobId(c.req.param('id')), c.get('person')))),
    )
}
