import { Hono } from 'hono'
import { requestId, type RequestIdVariables } from 'hono/request-id'
import { agentRoutes } from './agents/agent-routes.ts'
import { enrollRoutes } from './agents/enroll-routes.ts'
import { registryRoutes } from './agents/registry-routes.ts'
import { requireAgent } from './agents/require-agent.ts'
import { archiveRoutes } from './archives/archive-routes.ts'
import { auditRoutes } from './audit/audit-routes.ts'
import type { ControlPlane } from './control-plane.ts'
import { eventRoutes } from './events/event-routes.ts'
import { takeTicket } from './events/take-ticket.ts'
import { jobRoutes } from './jobs/job-routes.ts'
import { metricsRoutes } from './metrics/metrics-routes.ts'
import { requirePerson, requireWatcher } from './people/require-person.ts'
import { loginRoutes, sessionRoutes } from './people/session-routes.ts'
import { tokenRoutes } from './people/token-routes.ts'
import { policyRoutes } from './policy/policy-routes.ts'
import { answerError } from './web/answer-error.ts'
import { answerHeaders } from './web/answer-headers.ts'
import { answerNotFound } from './web/answer-not-found.ts'
import { limitAgents, limitPeople, limitStrangers, limitUnproven } from './web/limit-callers.ts'
import { logRequest } from './web/log-request.ts'
import { requireJson } from './web/require-json.ts'
import { serviceRoutes } from './web/service-routes.ts'

/*
 * The control plane as one Hono app, the same under Node and as a function. It records what people ask for, signs it as
 * orders, and keeps what agents report.
 *
 * Promises: every error is a problem+json, so that nobody takes a proxy's page for our answer; every answer has a Date,
 * by which agents check their clocks. Never: state in memory between requests; a URL, a bucket key or a row.
 */
export function createApp(control: ControlPlane) {
  const app = new Hono<{ Variables: RequestIdVariables }>()
  app.onError((error, c) => answerError(error, c, control.log))
  app.use(requestId(), logRequest(control.log), answerHeaders(control.origin), requireJson)
  for (const path of ['/v1/*', '/metrics']) app.use(path, limitUnproven(control))
  for (const path of ['/v1/enroll', '/v1/session']) app.use(path, limitStrangers(control))
  // In one chain, from which `hono/client` takes the types of all routes.
  const routes = app
    .route('/', serviceRoutes(control))
    .use('/v1/agent/*', requireAgent(control), limitAgents(control))
    .route('/v1/agent', agentRoutes(control))
    .route('/v1', enrollRoutes(control))
    .route('/v1', loginRoutes(control))
    // An agent that asks for what we do not have is told so, and not to log in.
    .use('/v1/agent/*', async (c) => await c.notFound())
    // What anybody may call stands above this line. Below it nothing is reached but by a person with the role for it.
    .use('/v1/jobs/:id/events', takeTicket(control))
    .use('/v1/*', requirePerson(control), limitPeople(control))
    .use('/metrics', requireWatcher(control), limitPeople(control))
    .route('/', metricsRoutes(control))
    .route('/v1', jobRoutes(control))
    .route('/v1', eventRoutes(control))
    .route('/v1', archiveRoutes(control))
    .route('/v1', policyRoutes(control))
    .route('/v1', registryRoutes(control))
    .route('/v1', sessionRoutes(control))
    .route('/v1', tokenRoutes(control))
    .route('/v1', auditRoutes(control))
  app.notFound(answerNotFound(app.routes))
  return routes
}

/** For `hono/client`: `hc<App>(url)` knows every route, what it takes and what it answers. */
export type App = ReturnType<typeof createApp>
