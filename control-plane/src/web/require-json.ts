import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createMiddleware } from 'hono/factory'

/**
 * What people send is JSON and says so. A form that another site's page sends to us with a visitor's cookie cannot say
 * so without asking first, and we never say yes. Agents' bodies are bound by their signature instead.
 */
export const requireJson = createMiddleware(async function jsonAlone(c, next) {
  const type = c.req.header('content-type')?.split(';')[0]?.trim().toLowerCase()
  const isOfAgent = c.req.path.startsWith('/v1/agent/')
  if (!isOfAgent && (type === undefined ? hasBody(c.req.raw) : type !== 'application/json')) {
    throw new SyncError('unsupported-media-type', 'The body is not declared as JSON.', {
      hint: 'Send the header "content-type: application/json".',
    })
  }
  await next()
})

function hasBody({ headers, method }: Request): boolean {
  if (method === 'GET' || method === 'HEAD') return false
  return headers.has('transfer-encoding') || Number(headers.get('content-length') ?? 0) > 0
}
