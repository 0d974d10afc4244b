import { SyncError } from '@multiboard-sync/shared/sync-error'

/*
 * A browser sends our cookie along with requests that other sites cause. What such a request carries in Origin and
 * Sec-Fetch-Site no page can choose. hono's csrf() looks at forms only and lets a cross-site JSON POST through.
 */

export interface RequestOrigin {
  method: string
  origin: string | undefined
  fetchSite: string | undefined
  contentType: string | undefined
}

export function originOf(request: Request): RequestOrigin {
  const { headers, method } = request
  return {
    method,
    origin: headers.get('origin') ?? undefined,
    fetchSite: headers.get('sec-fetch-site') ?? undefined,
    contentType: headers.get('content-type') ?? undefined,
  }
}

/**
 * Throws `forbidden` unless a request with a cookie comes from a page of ours: whatever says where it comes from says
 * here; what changes something says so at least once, and is JSON, which no form can send.
 */
export function checkOrigin(request: RequestOrigin, ownOrigin: string): void {
  const changes = !['GET', 'HEAD'].includes(request.method)
  checkSaid(request, ownOrigin, changes ? ['same-origin'] : ['same-origin', 'none'])
  if (!changes) return
  if (request.origin === undefined && request.fetchSite === undefined) throw elsewhere('It does not say whence.')
  checkJson(request)
}

/** For who brings a token to begin a session: a program says nothing of an origin, a browser must say ours. */
export function checkLogin(request: RequestOrigin, ownOrigin: string): void {
  checkSaid(request, ownOrigin, ['same-origin'])
  checkJson(request)
}

function checkSaid({ origin, fetchSite }: RequestOrigin, ownOrigin: string, sites: readonly string[]): void {
  if (origin !== undefined && origin !== ownOrigin) throw elsewhere('Its origin is another.')
  if (fetchSite !== undefined && !sites.includes(fetchSite)) throw elsewhere('Its site is another.')
}

function checkJson({ contentType }: RequestOrigin): void {
  if (contentType?.split(';')[0]?.trim().toLowerCase() === 'application/json') return
  throw new SyncError('forbidden', 'With a cookie only JSON is taken.', {
    hint: 'Send the header "content-type: application/json", also with an empty body.',
  })
}

function elsewhere(why: string): SyncError {
  return new SyncError('forbidden', `The request does not come from a page of this control plane. ${why}`, {
    hint: 'Open the control plane by its PUBLIC_URL. A program sends a token in the header authorization, and no cookie.',
  })
}
