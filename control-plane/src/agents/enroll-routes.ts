import { enrollRequestSchema } from '@multiboard-sync/shared/agent-key'
import { Hono } from 'hono'
import type { ControlPlane } from '../control-plane.ts'
import { describe } from '../web/describe.ts'
import { parseBody, readBody } from '../web/read-body.ts'
import { enrolling } from './describe-registry-routes.ts'
import { enrollAgent } from './enroll-agent.ts'

/** What anybody may call who has a code: /v1/enroll. The code is the permission, the proof makes the key theirs. */
export function enrollRoutes(control: ControlPlane) {
  return new Hono().post('/enroll', describe(enrolling), async (c) => {
    const request = parseBody(enrollRequestSchema, await readBody(c.req.raw), 'agent')
    return c.json(await enrollAgent(control, request))
  })
}
