import { Hono } from 'hono'
import { z } from 'zod'
import document from '../../openapi.json' with { type: 'json' }
import type { ControlPlane } from '../control-plane.ts'
import { isMigrated } from '../store/schema-version.ts'
import { describe } from './describe.ts'
import { describeError } from './log.ts'
import { ProblemError } from './problem.ts'

const documentText = JSON.stringify(document)
/** A database that starts, or a pool that is full for a moment. */
const READY_AGAIN_S = 5

/** What is asked of the service itself, by anybody. */
export function serviceRoutes({ database, log, stopping }: ControlPlane) {
  return new Hono()
    .get('/healthz', describe(living), (c) => c.json({ ok: true }))
    .get('/readyz', describe(readying), async (c) => {
      if (stopping.aborted) throw notReady('The control plane is stopping.', 'Ask the next one.')
      const isCurrent = await isMigrated(database).catch((error: unknown) => {
        log({ level: 'warning', event: 'not-ready', ...describeError(error) })
        throw notReady('The database does not answer.', 'Check DATABASE_URL and that its server runs.')
      })
      if (isCurrent) return c.json({ ok: true })
      throw notReady('The database is older than this version of the control plane.', 'Run `pnpm migrate`.')
    })
    .get('/v1/openapi.json', describe(showing), (c) =>
      c.body(documentText, 200, { 'content-type': 'application/json', 'cache-control': 'public, max-age=60' }),
    )
}

function notReady(message: string, hint: string): ProblemError {
  return new ProblemError('not-ready', message, { hint, retryAfterS: READY_AGAIN_S })
}

const well = z.object({ ok: z.literal(true) })

const living = {
  summary: 'Says whether the control plane lives',
  description:
    'Touches no database: whoever starts an unhealthy process anew does not do so for a database that is away.',
  tag: 'service',
  by: 'anybody',
  answers: { 200: { what: 'It does.', schema: well } },
} as const

const readying = {
  summary: 'Says whether the control plane can work',
  tag: 'service',
  by: 'anybody',
  answers: { 200: { what: 'Its database answers, and has the tables of this version.', schema: well } },
  problems: ['not-ready'],
} as const

const showing = {
  summary: 'Shows this document',
  tag: 'service',
  by: 'anybody',
  answers: { 200: { what: 'OpenAPI 3.1.', schema: z.record(z.string(), z.unknown()) } },
} as const
