import { enrollmentRequestSchema } from '@multiboard-sync/shared/agent-key'
import { agentIdSchema } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { Hono } from 'hono'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { answerOnce } from '../web/answer-once.ts'
import { describe } from '../web/describe.ts'
import { parseBody, readBody } from '../web/read-body.ts'
import { inviting, listing, registering, revoking } from './describe-registry-routes.ts'
import { listAgents } from './list-agents.ts'
import { makeEnrollment } from './make-enrollment.ts'
import { registerAgent, registerAgentSchema } from './register-agent.ts'
import { revokeAgent } from './revoke-agent.ts'

/** What people do with agents. */
export function registryRoutes({ database, signer }: ControlPlane) {
  return new Hono<PersonEnv>()
    .get('/agents', describe(listing), async (c) =>
      c.json({ agents: await listAgents(database, signer.kid), signing_kid: signer.kid }),
    )
    .post('/agents', describe(registering), async (c) => {
      const input = parseBody(registerAgentSchema, await readBody(c.req.raw), 'person')
      const by = c.get('person').name
      const { status, body } = await answerOnce(c, database, { input }, async (once) => {
        const isNew = await registerAgent(once, input, by)
        return { status: isNew ? 201 : 200, body: { id: input.id } }
      })
      return c.json(body, status)
    })
    .post('/agents/:id/revoke', describe(revoking), async (c) => {
      const { data: id } = agentIdSchema.safeParse(c.req.param('id'))
      if (id === undefined) throw new SyncError('not-found', 'There is no such agent.')
      const by = c.get('person').name
      const { status, body } = await answerOnce(c, database, { input: null }, async (once) => ({
        status: 200,
        body: await revokeAgent(once, id, by),
      }))
      return c.json(body, status)
    })
    .post('/enrollments', describe(inviting), async (c) => {
      const input = parseBody(enrollmentRequestSchema, await readBody(c.req.raw), 'person')
      const by = c.get('person').name
      const { status, body } = await answerOnce(c, database, { input, secret: true }, async (once) => ({
        status: 201,
        body: await makeEnrollment(once, input.agent, by),
      }))
      return c.json(body, status)
    })
}
