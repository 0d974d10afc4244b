import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { describe, type Description } from '../web/describe.ts'
import { linkHeader, linkToNext, pageOf, pageQuery } from '../web/page.ts'
import { parseInput } from '../web/read-body.ts'
import { auditEntrySchema, auditPageSchema, listAudit } from './list-audit.ts'
import { verifyAudit } from './verify-audit.ts'

const hashSchema = z.string().regex(/^[0-9a-f]{64}$/, '64 hex digits')

const verifyQuery = z.object({
  n: z.int().min(1).optional().meta({ description: '`head.n` of an earlier answer.' }),
  hash: hashSchema.optional().meta({ description: '`head.hash` of the same answer.' }),
})

const notedSchema = z
  .object({ n: z.coerce.number().int().min(1).optional(), hash: hashSchema.optional() })
  .refine(({ hash, n }) => (hash === undefined) === (n === undefined), 'n and hash come together, from one answer')
  .transform(({ hash, n }) => (hash === undefined || n === undefined ? undefined : { n, hash }))

/** What admins see of the audit. */
export function auditRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>()
    .get('/audit', describe(listing), async (c) => {
      const { entries, next } = await listAudit(database, parseInput(auditPageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ entries, next: next ?? null })
    })
    .get('/audit/verify', describe(verifying), async (c) =>
      c.json(await verifyAudit(database, parseInput(notedSchema, c.req.query()))),
    )
}

const tag = 'audit'

const listing = {
  summary: 'Lists the audit, newest first',
  tag,
  by: 'person',
  revalidated: true,
  query: pageQuery.extend({
    object: z
      .string()
      .optional()
      .meta({ description: 'Entries about this alone: `job:<id>`, `token:<id>`, `agent:<id>`.' }),
  }),
  answers: { 200: { what: 'One page.', schema: pageOf('entries', auditEntrySchema), headers: linkHeader } },
} as const satisfies Description

const verdictSchema = z
  .object({
    ok: z.boolean(),
    entries: z.int().meta({ description: 'Found good, from the first on.' }),
    head: z
      .object({ n: z.int(), hash: z.string() })
      .nullable()
      .meta({ description: 'The last good entry. Note it somewhere else, and bring it to a later check.' }),
    broken_at: z
      .int()
      .nullable()
      .meta({ description: 'The first entry that is not as it was written, or is missing.' }),
    reason: z.enum(['missing', 'changed', 'moved']).nullable(),
    object: z.string().nullable(),
  })
  .meta({ id: 'AuditVerdict' })

const verifying = {
  summary: 'Checks the whole audit',
  description:
    'Finds entries that were changed, taken out or moved. That the end was cut off is found by the jobs, whose entries are then ' +
    'missing, and for certain by `n` and `hash`, the head that an earlier check answered and somebody noted elsewhere.',
  tag,
  by: 'person',
  query: verifyQuery,
  answers: { 200: { what: 'What was found.', schema: verdictSchema } },
} as const satisfies Description
