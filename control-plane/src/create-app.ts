import { toSyncError, SyncError } from '@multiboard-sync/shared/sync-error'
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
import { jobRoutes } from './jobs/job-routes.ts'
import { requirePerson } from './people/require-person.ts'
import { loginRoutes, sessionRoutes } from './people/session-routes.ts'
import { tokenRoutes } from './people/token-routes.ts'
import { describeError } from './web/log.ts'
import { problemResponse } from './web/problem.ts'

/*
 * The control plane as one Hono app, the same under Node and as a function. It records what people ask for, signs it as
 * orders, and keeps what agents report.
 *
 * Promises: every error is a problem+json, so that nobody takes a proxy's page for our answer; every answer has a Date,
 * by which agents check their clocks. Never: state in memory between requests; a URL, a bucket key or a row.
 */
export function createApp(control: ControlPlane) {
  const app = new Hono<{ Variables: RequestIdVariables }>()
  app.use(requestId(), async function answerHeaders(c, next) {
    await next()
    c.header('x-request-id', c.get('requestId'))
    c.header('date', new Date().toUTCString())
    c.header('x-content-type-options', 'nosniff')
    if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
  })
  app.onError((error, c) => {
    const known = error instanceof SyncError ? error : internal(error)
    if (known.code === 'internal') {
      const { method, path } = c.req
      control.log({
        level: 'error',
        event: 'request-failed',
        request: c.get('requestId'),
        method,
        path,
        ...describeError(error),
      })
    }
    return problemResponse(known, c.get('requestId'))
  })
  app.notFound((c) => problemResponse(new SyncError('not-found', 'There is nothing here.'), c.get('requestId')))

  app.get('/healthz', async (c) => {
    await control.database.query('select 1')
    return c.json({ ok: true })
  })
  app.use('/v1/agent/*', requireAgent(control))
  app.route('/v1/agent', agentRoutes(control))
  app.route('/v1', enrollRoutes(control))
  app.route('/v1', loginRoutes(control))
  // An agent that asks for what we do not have is told so, and not to log in.
  app.all('/v1/agent/*', (c) => c.notFound())
  // What anybody may call stands above this line. Below it nothing is reached but by a person with the role for it.
  app.use('/v1/*', requirePerson(control))
  app.route('/v1', jobRoutes(control))
  app.route('/v1', eventRoutes(control))
  app.route('/v1', archiveRoutes(control))
  app.route('/v1', registryRoutes(control))
  app.route('/v1', sessionRoutes(control))
  app.route('/v1', tokenRoutes(control))
  app.route('/v1', auditRoutes(control))
  return app
}

/** What we did not foresee, most often our database away: no text of it leaves; the same call may succeed later. */
function internal(cause: unknown): SyncError {
  const { code } = toSyncError(cause)
  return new SyncError(code, 'The control plane could not answer.', {
    hint: "Try again; if it stays, look for the request's id in the control plane's log.",
    retryable: true,
    cause,
  })
}
