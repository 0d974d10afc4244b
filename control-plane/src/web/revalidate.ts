import { createHash } from 'node:crypto'
import type { Context } from 'hono'

/**
 * Gives an answer an ETag, and makes it a 304 when If-None-Match names it: a page that looks again and again is sent what
 * has changed, and no more. Weak, because proxies compress. After the handler.
 */
export async function revalidate(c: Context): Promise<void> {
  if (c.res.status !== 200 || !c.res.headers.get('content-type')?.startsWith('application/json')) return
  const body = await c.res.text()
  const etag = `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  const headers = new Headers(c.res.headers)
  headers.set('etag', etag)
  // To be kept by the caller's own browser alone, and asked for again before each use.
  headers.set('cache-control', 'private, no-cache')
  headers.append('vary', 'authorization, cookie')
  const isKnown = matches(c.req.header('if-none-match'), etag)
  if (isKnown) headers.delete('content-type')
  // hono merges the headers of the answer before into the new one; ours are all of them.
  c.res = undefined
  c.res = isKnown ? new Response(null, { status: 304, headers }) : new Response(body, { status: 200, headers })
}

/** RFC 9110, 13.1.2: a list of tags, compared weakly, or `*`. */
function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  const opaque = (tag: string): string => tag.trim().replace(/^W\//, '')
  return header.trim() === '*' || header.split(',').some((tag) => opaque(tag) === opaque(etag))
}
