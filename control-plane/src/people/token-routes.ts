import { SyncError } from '@multiboard-sync/shared/sync-error'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import { answerOnce } from '../web/answer-once.ts'
import { describe, type Description } from '../web/describe.ts'
import { linkHeader, linkToNext, pageOf, pageQuery } from '../web/page.ts'
import { parseBody, parseInput, readBody } from '../web/read-body.ts'
import { tokenIdSchema } from './api-token.ts'
import { listTokens, tokenPageSchema, tokenViewSchema } from './list-tokens.ts'
import { makeToken, makeTokenSchema } from './make-token.ts'
import { roles, type PersonEnv } from './person.ts'
import { revokeToken } from './revoke-token.ts'

/** What admins do with API tokens. */
export function tokenRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>()
    .post('/tokens', describe(making), async (c) => {
      const input = parseBody(makeTokenSchema, await readBody(c.req.raw), 'person')
      const by = c.get('person').name
      const { body, status } = await answerOnce(c, database, { input, secret: true }, async (once) => ({
        status: 201,
        body: await makeToken(once, input, by),
      }))
      return c.json(body, status)
    })
    .get('/tokens', describe(listing), async (c) => {
      const { tokens, next } = await listTokens(database, parseInput(tokenPageSchema, c.req.query()))
      if (next) c.header('link', linkToNext(c.req.url, next))
      return c.json({ tokens, next: next ?? null })
    })
    .delete('/tokens/:id', describe(revoking), async (c) => {
      const { data: id } = tokenIdSchema.safeParse(c.req.param('id'))
      if (id === undefined) throw new SyncError('not-found', 'There is no such token.')
      await revokeToken(database, id, c.get('person').name)
      return c.body(null, 204)
    })
}

const tag = 'people'

const tokenMadeSchema = z
  .object({
    id: tokenIdSchema,
    token: z.string().meta({ description: '`mbs_<id>_<secret>`, shown this once and kept nowhere.' }),
    label: z.string(),
    role: z.enum(roles),
    expires_at: z.iso.datetime(),
  })
  .meta({ id: 'TokenMade' })

const making = {
  summary: 'Makes an API token',
  description: 'Its people are called `token:<label>`.',
  tag,
  by: 'person',
  body: makeTokenSchema,
  idempotent: true,
  answers: { 201: { what: 'The token.', schema: tokenMadeSchema } },
  problems: ['conflict'],
} as const satisfies Description

const listing = {
  summary: 'Lists API tokens, newest first',
  tag,
  by: 'person',
  query: pageQuery,
  revalidated: true,
  answers: { 200: { what: 'One page.', schema: pageOf('tokens', tokenViewSchema), headers: linkHeader } },
} as const satisfies Description

const revoking = {
  summary: 'Revokes an API token',
  description: 'From the next call on; sessions begun with it end too. A second time changes nothing.',
  tag,
  by: 'person',
  path: { id: tokenIdSchema },
  answers: { 204: { what: 'It is revoked.' } },
} as const satisfies Description
