import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Context, Hono } from 'hono'
import type { RequestIdVariables } from 'hono/request-id'
import { ProblemError, problemResponse } from './problem.ts'

/** 404, or 405 with Allow where the path is known and the method is not. Answers after proof of who asks, where needed. */
export function answerNotFound(routes: Pick<Hono, 'routes'>['routes']) {
  const known = routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => ({ method, is: patternOf(path) }))
  return (c: Context<{ Variables: RequestIdVariables }>): Response => {
    const requestId = c.get('requestId')
    const methods = new Set(known.filter(({ is }) => is.test(c.req.path)).map(({ method }) => method))
    if (methods.size === 0) return problemResponse(new SyncError('not-found', 'There is nothing here.'), requestId)
    if (methods.has('GET')) methods.add('HEAD')
    const allow = [...methods].toSorted().join(', ')
    const hint = `It answers to ${allow}.`
    return problemResponse(
      new ProblemError('method-not-allowed', 'This path does not know that method.', { hint, headers: { allow } }),
      requestId,
    )
  }
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll('.', String.raw`\.`).replaceAll(/:[a-z]+/gi, '[^/]+')}$`)
}
