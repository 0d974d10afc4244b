import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { RequestIdVariables } from 'hono/request-id'
import { matchedRoutes } from 'hono/route'
import type { Log } from './log.ts'

/** Asked several times a minute, for ever, by who watches: a record of each that went well would hide the others. */
const WATCHING: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics'])

/**
 * One record for each request: what was called, by its pattern, and how it went. Never the path or the query as they
 * came: queries hold tickets, and paths whatever a stranger writes into them. A stream's time is that to its first byte.
 */
export function logRequest(log: Log) {
  return createMiddleware<{ Variables: RequestIdVariables }>(async function logged(c, next) {
    const startedAt = performance.now()
    await next()
    const route = routeOf(c)
    log({
      level: WATCHING.has(route) && c.res.ok ? 'debug' : 'info',
      event: 'request',
      request: c.get('requestId'),
      method: c.req.method,
      route,
      status: c.res.status,
      ms: Math.round(performance.now() - startedAt),
    })
  })
}

/** The pattern of what was called. */
export function routeOf(c: Context): string {
  return matchedRoutes(c).findLast(({ method }) => method !== 'ALL')?.path ?? 'none'
}
