import { agentIdSchema } from '@multiboard-sync/shared/job'
import { createJobBodySchema, createJobSchema } from '@multiboard-sync/shared/protocol'
import { Hono } from 'hono'
import { z } from 'zod'
import type { ControlPlane } from '../control-plane.ts'
import { askPolicies } from '../jobs/choose-agent.ts'
import type { PersonEnv } from '../people/person.ts'
import { describe, type Description } from '../web/describe.ts'
import { parseBody, readBody } from '../web/read-body.ts'
import { viewVerdict } from './view-verdict.ts'

/** What agents would say to a job. Nothing is asked of them, and nothing is kept. */
export function policyRoutes({ database }: ControlPlane) {
  return new Hono<PersonEnv>().post('/policy/preview', describe(previewing), async (c) => {
    const { params, agent } = parseBody(createJobSchema, await readBody(c.req.raw), 'person')
    return c.json({ agents: (await askPolicies(database, params, agent)).map(viewVerdict) })
  })
}

const verdictSchema = z
  .object({
    agent: agentIdSchema,
    allowed: z.boolean(),
    code: z.string().optional(),
    message: z.string().optional(),
    hint: z.string().optional(),
    next_allowed_at: z.iso.datetime().optional(),
  })
  .meta({ id: 'PolicyVerdict' })

const previewing = {
  summary: 'Tells what agents would say to a job',
  description:
    'By the policies as the agents reported them, at this time. The agent itself decides, also by what only it can see.',
  tag: 'jobs',
  by: 'person',
  body: createJobBodySchema,
  answers: {
    200: {
      what: 'For each agent, or for the one that was asked for: yes; or no, why, and when time alone will change that.',
      schema: z.object({ agents: z.array(verdictSchema) }),
    },
  },
  problems: ['agent-unknown', 'agent-revoked', 'archive-unknown'],
} as const satisfies Description
