import { SyncError } from '@multiboard-sync/shared/sync-error'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import { answerOnce } from '../web/answer-once.ts'
import { describe, type Description } from '../web/describe.ts'
import { parseBody, readBody } from '../web/read-body.ts'
import { beginSession } from './begin-session.ts'
import { checkLogin, originOf } from './check-origin.ts'
import { endSession } from './end-session.ts'
import { endSessions, endSessionsSchema } from './end-sessions.ts'
import { roles, type PersonEnv } from './person.ts'
import { makeProver } from './prove-person.ts'
import { clearSessionCookie, readSessionCookie, sessionsPossible, writeSessionCookie } from './session-cookie.ts'

// A JWT of an issuer that lists many groups has some kilobytes.
const beginSchema = z.strictObject({ token: z.string().min(1).max(16_384) })

/** POST /v1/session, for whoever has a token: anybody may call it. */
export function loginRoutes(control: ControlPlane) {
  const { adminToken, database, origin } = control
  const prove = makeProver(control)
  return new Hono().post('/session', describe(beginning), async (c) => {
    if (!sessionsPossible(origin)) {
      throw new SyncError('forbidden', 'Sessions need https: over http others could read the cookie.', {
        hint: 'Set PUBLIC_URL to an https address, or send a token with each call.',
      })
    }
    checkLogin(originOf(c.req.raw), origin)
    const { token } = parseBody(beginSchema, await readBody(c.req.raw), 'person')
    const proven = await prove(token)
    const session = await beginSession(database, proven, { adminToken, earlier: readSessionCookie(c, origin) })
    writeSessionCookie(c, origin, session)
    const { name, role } = proven.person
    return c.json({ name, role, via: 'session', expires_at: session.expiresAt.toISOString() } as const)
  })
}

/** What somebody who is logged in may see and do of themselves. */
export function sessionRoutes({ adminToken, database, origin }: ControlPlane) {
  return new Hono<PersonEnv>()
    .delete('/session', describe(ending), async (c) => {
      const id = readSessionCookie(c, origin)
      if (id !== undefined) await endSession(database, id, adminToken)
      clearSessionCookie(c, origin)
      return c.body(null, 204)
    })
    .post('/sessions/revoke', describe(endingAll), async (c) => {
      const input = parseBody(endSessionsSchema, await readBody(c.req.raw), 'person')
      const by = c.get('person').name
      const { body, status } = await answerOnce(c, database, { input }, async (once) => ({
        status: 200,
        body: { ended: await endSessions(once, input.subject, by) },
      }))
      return c.json(body, status)
    })
    .get('/me', describe(seeing), (c) => {
      const { name, role, via } = c.get('person')
      return c.json({ name, role, via })
    })
}

const tag = 'people'

const meSchema = z
  .object({ name: z.string(), role: z.enum(roles), via: z.enum(['admin-token', 'token', 'jwt', 'session', 'ticket']) })
  .meta({ id: 'Me' })

const beginning = {
  summary: 'Begins a session',
  description:
    'For a page of the control plane itself. The token is any that a call may carry: an API token, a JWT, the admin ' +
    'token. Requests with the cookie are taken from the same origin only; those that change something must be JSON.',
  tag,
  by: 'anybody',
  body: beginSchema,
  answers: {
    200: {
      what: 'Who they are. The cookie is HttpOnly and lives for 12 hours at most.',
      schema: meSchema.extend({ expires_at: z.iso.datetime() }).meta({ id: 'Session' }),
      headers: { 'Set-Cookie': '`__Host-multiboard`; over http on loopback `multiboard`.' },
    },
  },
  problems: ['unauthorized', 'forbidden'],
} as const satisfies Description

const ending = {
  summary: 'Ends the session of the cookie',
  tag,
  by: 'person',
  answers: { 204: { what: 'It is ended.' } },
} as const satisfies Description

const endingAll = {
  summary: 'Ends all sessions of somebody',
  description: 'Of a subject as the audit names it: `token:<label>`, `<issuer>:<subject>`, `admin`. Tokens stay good.',
  tag,
  by: 'person',
  body: endSessionsSchema,
  idempotent: true,
  answers: { 200: { what: 'How many there were.', schema: z.object({ ended: z.int() }) } },
} as const satisfies Description

const seeing = {
  summary: 'Says who is asking',
  tag,
  by: 'person',
  answers: { 200: { what: 'The caller, as the audit would name them.', schema: meSchema } },
} as const satisfies Description
