import { http, HttpResponse, type HttpHandler } from 'msw'
import { wholeBody } from './answer.ts'
import type { Fake } from './open-fake.ts'
import { serve } from './serve.ts'

/**
 * The same server without a port: handlers for `setupServer` that answer everything below the origin, faults included.
 * A connection that is cut is a network error there, and an answer that breaks off an empty one.
 */
export function typesenseHandlers(origin: string, fake: Fake): HttpHandler[] {
  return [
    http.all(`${origin}/*`, async ({ request }) => {
      const url = new URL(request.url)
      const outcome = await serve(fake.serving, {
        method: request.method,
        url: `${url.pathname}${url.search}`,
        apiKey: request.headers.get('x-typesense-api-key') ?? undefined,
        readBody: async (afterBytes) => {
          const body = Buffer.from(await request.arrayBuffer())
          if (afterBytes !== undefined) throw new Error('The request broke off.')
          return body
        },
      }).catch(() => ({ cut: true }) as const)
      if (outcome.cut || outcome.endsAfterBytes !== undefined) return HttpResponse.error()
      const { status, contentType } = outcome.answer
      return new HttpResponse(new Uint8Array(wholeBody(outcome.answer)), {
        status,
        headers: { 'content-type': contentType },
      })
    }),
  ]
}
