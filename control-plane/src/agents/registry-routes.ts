import { Hono } from 'hono'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from '../people/person.ts'
import { parseBody, readBody } from '../web/read-body.ts'
import { listAgents } from './list-agents.ts'
import { registerAgent, registerAgentSchema } from './register-agent.ts'

/** What people do with agents. */
export function registryRoutes({ database, signer }: ControlPlane) {
  return new Hono<PersonEnv>()
    .get('/agents', async (c) => c.json({ agents: await listAgents(database), signing_kid: signer.kid }))
    .post('/agents', async (c) => {
      const input = parseBody(registerAgentSchema, await readBody(c.req.raw), 'person')
      const isNew = await registerAgent(database, input)
      return c.json({ id: input.id }, isNew ? 201 : 200)
    })
}
