import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import type { RequestIdVariables } from 'hono/request-id'

const YEAR_S = 31_536_000

/**
 * What every answer says, errors and streams too. The policies are for a browser that is led here by somebody else's page:
 * nothing of an answer is run, framed, or read across origins.
 */
export function answerHeaders(origin: string) {
  const isHttps = origin.startsWith('https:')
  return createMiddleware<{ Variables: RequestIdVariables }>(async function headers(c, next) {
    await next()
    // Once more: an error's answer is another one than that on which it was set.
    c.header('x-request-id', c.get('requestId'))
    setHeaders(c, isHttps)
  })
}

function setHeaders(c: Context, isHttps: boolean): void {
  // Agents check their clocks by it.
  c.header('date', new Date().toUTCString())
  c.header('content-security-policy', "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
  c.header('cross-origin-resource-policy', 'same-origin')
  c.header('referrer-policy', 'no-referrer')
  c.header('x-content-type-options', 'nosniff')
  c.header('x-frame-options', 'DENY')
  if (isHttps) c.header('strict-transport-security', `max-age=${YEAR_S}`)
  if (!c.res.headers.has('cache-control')) c.header('cache-control', 'no-store')
}
