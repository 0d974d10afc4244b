import { enrollmentRequestSchema } from '@multiboard-sync/shared/agent-key'
import { agentIdSchema } from '@multiboard-sync/shared/job'
import { Hono } from 'hono'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { parseBody, parseInput, readBody } from '../web/read-body.ts'
import { listAgents } from './list-agents.ts'
import { makeEnrollment } from './make-enrollment.ts'
import { registerAgent, registerAgentSchema } from './register-agent.ts'
import { revokeAgent } from './revoke-agent.ts'

/** What people do with agents. */
export function registryRoutes({ database, signer }: ControlPlane) {
  return new Hono<PersonEnv>()
    .get('/agents', async (c) => c.json({ agents: await listAgents(database, signer.kid), signing_kid: signer.kid }))
    .post('/agents', async (c) => {
      const input = parseBody(registerAgentSchema, await readBody(c.req.raw), 'person')
      const isNew = await registerAgent(database, input, c.get('person').name)
      return c.json({ id: input.id }, isNew ? 201 : 200)
    })
    .post('/agents/:id/revoke', async (c) => {
      const id = parseInput(agentIdSchema, c.req.param('id'))
      return c.json(await revokeAgent(database, id, c.get('person').name))
    })
    .post('/enrollments', async (c) => {
      const { agent } = parseBody(enrollmentRequestSchema, await readBody(c.req.raw), 'person')
      return c.json(await makeEnrollment(database, agent, c.get('person').name), 201)
    })
}
