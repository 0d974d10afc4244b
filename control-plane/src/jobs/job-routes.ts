import { createJobSchema, undoJobSchema } from '@multiboard-sync/shared/protocol'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { linkToNext } from '../web/page.ts'
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
    .post('/jobs', async (c) => {
      const key = readKey(c.req.header('idempotency-key'))
      const input = parseBody(createJobSchema, await readBody(c.req.raw), 'person')
      const job = await createJob(database, input, c.get('person').name, key)
      c.header('location', `/v1/jobs/${job.id}`)
      return c.json(viewJob(job), 201)
    })
    .get('/jobs', async (c) => {
      const { jobs, next } = await listJobs(database, parseInput(jobPageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ jobs: jobs.map(viewJob), next: next ?? null })
    })
    .get('/jobs/:id', async (c) => c.json(viewJob(await findJobByPath(database, c.req.param('id')))))
    .post('/jobs/:id/undo', async (c) => {
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
    .post('/jobs/:id/cancel', async (c) =>
      c.json(viewJob(await cancelJob(database, requireJobId(c.req.param('id')), c.get('person').name))),
    )
}
