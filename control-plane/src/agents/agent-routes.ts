import { rotateRequestSchema } from '@multiboard-sync/shared/agent-key'
import {
  acceptRequestSchema,
  archivesRequestSchema,
  completeRequestSchema,
  pollRequestSchema,
  reportRequestSchema,
} from '@multiboard-sync/shared/protocol'
import { Hono } from 'hono'
import { storeArchives } from '../archives/store-archives.ts'
import type { ControlPlane } from '../control-plane.ts'
import { acceptJob } from '../jobs/accept-job.ts'
import { completeJob } from '../jobs/complete-job.ts'
import { requireJobId } from '../jobs/job-row.ts'
import { reportJob } from '../jobs/report-job.ts'
import { describe } from '../web/describe.ts'
import { parseBody } from '../web/read-body.ts'
import { accepting, bringingKey, completing, polling, reporting, tellingArchives } from './describe-agent-routes.ts'
import { poll } from './poll.ts'
import type { AgentEnv } from './require-agent.ts'
import { rotateKey } from './rotate-key.ts'

/** What agents call, each call signed: /v1/agent/… */
export function agentRoutes(control: ControlPlane) {
  return new Hono<AgentEnv>()
    .post('/poll', describe(polling), async (c) => {
      const agent = c.get('agent')
      return c.json(await poll(control, agent, parseBody(pollRequestSchema, agent.body, 'agent')))
    })
    .post('/jobs/:id/accept', describe(accepting), async (c) => {
      const { id, body } = c.get('agent')
      const request = parseBody(acceptRequestSchema, body, 'agent')
      return c.json(await acceptJob(control, id, requireJobId(c.req.param('id')), request))
    })
    .post('/jobs/:id/report', describe(reporting), async (c) => {
      const { id, body } = c.get('agent')
      const request = parseBody(reportRequestSchema, body, 'agent')
      return c.json(await reportJob(control, id, requireJobId(c.req.param('id')), request))
    })
    .post('/jobs/:id/complete', describe(completing), async (c) => {
      const { id, body } = c.get('agent')
      const request = parseBody(completeRequestSchema, body, 'agent')
      const { status, reply } = await completeJob(control, id, requireJobId(c.req.param('id')), request)
      return c.json(reply, status)
    })
    .post('/archives', describe(tellingArchives), async (c) => {
      const { id, body } = c.get('agent')
      const { archives } = parseBody(archivesRequestSchema, body, 'agent')
      await storeArchives(control.database, id, archives)
      return c.json({ archives: archives.length, signing_kid: control.signer.kid })
    })
    .post('/keys', describe(bringingKey), async (c) => {
      const agent = c.get('agent')
      return c.json(await rotateKey(control, agent, parseBody(rotateRequestSchema, agent.body, 'agent')))
    })
}
