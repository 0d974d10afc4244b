import { Hono } from 'hono'
import { z } from 'zod'
import document from '../../openapi.json' with { type: 'json' }
import type { ControlPlane } from '../control-plane.ts'
import { describe } from './describe.ts'

const documentText = JSON.stringify(document)

/** What is asked of the service itself, by anybody. */
export function serviceRoutes({ database }: ControlPlane) {
  return new Hono()
    .get('/healthz', describe(living), async (c) => {
      await database.query('select 1')
      return c.json({ ok: true })
    })
    .get('/v1/openapi.json', describe(showing), (c) =>
      c.body(documentText, 200, { 'content-type': 'application/json', 'cache-control': 'public, max-age=60' }),
    )
}

const living = {
  summary: 'Says whether the control plane and its database answer',
  tag: 'service',
  by: 'anybody',
  answers: { 200: { what: 'They do.', schema: z.object({ ok: z.literal(true) }) } },
} as const

const showing = {
  summary: 'Shows this document',
  tag: 'service',
  by: 'anybody',
  answers: { 200: { what: 'OpenAPI 3.1.', schema: z.record(z.string(), z.unknown()) } },
} as const
