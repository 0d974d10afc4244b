import { generateKeyPair, type CryptoKey } from 'jose'
import { delay, http, HttpResponse } from 'msw'
import { setupServer } from 'msw/node'
import { claimedAgent, verifyRequest } from '@multiboard-sync/shared/signed-request'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { connectControlPlane, type ControlPlane } from './control-plane-client.ts'
import { ControlPlaneError } from './control-plane-error.ts'

const ORIGIN = 'https://sync.example.com'
const JOB = 'j4k7q2m9xw1ab'
const server = setupServer()
const never = new AbortController().signal

let keys: { privateKey: CryptoKey; publicKey: CryptoKey }
let plane: ControlPlane

beforeAll(async () => {
  server.listen({ onUnhandledFrame: 'error' })
  keys = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
  plane = connectControlPlane({ url: ORIGIN, agent: 'vps1', key: keys.privateKey, version: '0.1.0', timeoutMs: 300 })
})
afterEach(() => server.resetHandlers())
afterAll(() => server.close())

const report = async (signal: AbortSignal = never) =>
  await plane.report(JOB, { epoch: 1, phase: 'loading', stalled_ms: 0, events: [] }, signal)
const reply = { lease_ms: 90_000, cancel: false, ack_aseq: 0, next_batch_ms: 2000 }
const path = `${ORIGIN}/v1/agent/jobs/${JOB}/report`
const answer = (make: () => Response | Promise<Response>) => server.use(http.post(path, make))
const problem = (status: number, body: object, headers: Record<string, string> = {}) =>
  new HttpResponse(JSON.stringify({ type: 'about:blank', title: 'No.', status, ...body }), {
    status,
    headers: { 'content-type': 'application/problem+json; charset=utf-8', ...headers },
  })

async function failureOf(call: Promise<unknown>): Promise<ControlPlaneError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (thrown instanceof ControlPlaneError) return thrown
  throw new Error('expected a ControlPlaneError', { cause: thrown })
}

describe('a call', () => {
  it('is signed over method, path and body by the agent', async () => {
    let checked: unknown
    server.use(
      http.post(path, async ({ request }) => {
        const authorization = request.headers.get('authorization') ?? ''
        const facts = {
          method: 'POST',
          path: new URL(request.url).pathname,
          body: await request.text(),
          origin: ORIGIN,
        }
        checked = await verifyRequest(authorization, facts, claimedAgent(authorization), keys.publicKey)
        return HttpResponse.json(reply)
      }),
    )
    await report()
    expect(checked).toMatchObject({ jti: expect.any(String) })
  })

  it('keeps the path of CONTROL_PLANE_URL', async () => {
    server.use(http.post(`${ORIGIN}/sync/v1/agent/archives`, () => HttpResponse.json({ archives: 0 })))
    const under = connectControlPlane({ url: `${ORIGIN}/sync/`, agent: 'a', key: keys.privateKey, version: '1' })
    await expect(under.archives({ archives: [] }, never)).resolves.toMatchObject({ status: 200 })
  })

  it('returns the reply and the time at the server', async () => {
    answer(() => HttpResponse.json({ ...reply, new_field: 1 }, { headers: { date: 'Sun, 22 Nov 2026 12:00:00 GMT' } }))
    const got = await report()
    expect(got.reply.lease_ms).toBe(90_000)
    expect(got.serverDate).toEqual(new Date('2026-11-22T12:00:00Z'))
  })

  it('tells a completion that still misses events from one that is done', async () => {
    server.use(
      http.post(`${ORIGIN}/v1/agent/jobs/${JOB}/complete`, () =>
        HttpResponse.json({ state: 'running', ack_aseq: 4 }, { status: 202 }),
      ),
    )
    const result = {
      outcome: 'succeeded',
      target_state: 'changed',
      tables: 1,
      rows: 1,
      bytes: 1,
      seconds: 1,
      peak_rss_mb: 1,
    } as const
    const got = await plane.complete(JOB, { epoch: 1, result, last_aseq: 9 }, never)
    expect(got).toMatchObject({ status: 202, reply: { ack_aseq: 4 } })
  })

  it('stops when its signal aborts, with the reason given', async () => {
    answer(async () => {
      await delay('infinite')
      return HttpResponse.json(reply)
    })
    const reason = new Error('shutting down')
    const controller = new AbortController()
    const call = report(controller.signal)
    setTimeout(() => controller.abort(reason), 20)
    await expect(call).rejects.toBe(reason)
  })

  it('refuses a CONTROL_PLANE_URL that carries a password or is none', () => {
    for (const url of ['https://user:secret@example.com', 'ftp://example.com', 'example.com', '']) {
      expect(() => connectControlPlane({ url, agent: 'a', key: keys.privateKey, version: '1' })).toThrow(
        expect.objectContaining({ code: 'config-invalid', message: expect.not.stringContaining('secret') }),
      )
    }
  })
})

describe('G18: an answer that is not the control plane’s is retryable and ends nothing', () => {
  const html = (status: number) => () =>
    new HttpResponse('<html>Log in</html>', { status, headers: { 'content-type': 'text/html' } })
  it.each<[string, () => Response | Promise<Response>]>([
    ['HTML 200', html(200)],
    ['HTML 401', html(401)],
    ['HTML 403', html(403)],
    ['HTML 404', html(404)],
    ['HTML 409', html(409)],
    ['HTML 502', html(502)],
    ['HTML 503', html(503)],
    [
      'a redirect to a login',
      () => new HttpResponse(null, { status: 302, headers: { location: 'https://login.example.com' } }),
    ],
    ['an empty 204', () => new HttpResponse(null, { status: 204 })],
    [
      'garbage that calls itself JSON',
      () => new HttpResponse('{"lease_ms": 9', { headers: { 'content-type': 'application/json' } }),
    ],
    ['JSON of another form', () => HttpResponse.json({ hello: 'world' })],
    ['a JSON error that is no problem', () => HttpResponse.json({ message: 'no' }, { status: 409 })],
    ['a problem without a code', () => problem(409, { code: undefined })],
    ['a problem with status 200', () => problem(200, { code: 'job-finished' })],
    ['more than it may send', () => HttpResponse.json({ ...reply, filler: 'x'.repeat(1024 * 1024) })],
    [
      'bytes that are not UTF-8',
      () => new HttpResponse(new Uint8Array([0x7b, 0xff, 0x7d]), { headers: { 'content-type': 'application/json' } }),
    ],
    ['a broken connection', () => HttpResponse.error()],
    [
      'silence',
      async () => {
        await delay('infinite')
        return HttpResponse.json(reply)
      },
    ],
  ])('%s', async (_what, make) => {
    answer(make)
    expect(await failureOf(report())).toMatchObject({ code: 'control-plane-unreachable', retryable: true })
  })
})

describe('a problem of the control plane', () => {
  it('becomes an error with its code, hint and acknowledged number', async () => {
    answer(() => problem(416, { code: 'event-gap', hint: 'Send from 8.', ack_aseq: 7 }))
    const failure = await failureOf(report())
    expect(failure).toMatchObject({
      code: 'event-gap',
      hint: 'Send from 8.',
      ackAseq: 7,
      retryable: false,
      status: 416,
    })
  })

  it.each(['stale-epoch', 'fence-superseded', 'job-finished', 'unauthorized'])('%s keeps its code', async (code) => {
    answer(() => problem(409, { code }))
    expect(await failureOf(report())).toMatchObject({ code, retryable: false })
  })

  it('G18: with a code of a newer control plane is a refusal that names it', async () => {
    answer(() => problem(409, { code: 'moon-phase-wrong' }))
    expect(await failureOf(report())).toMatchObject({
      code: 'control-plane-refused',
      details: ['code: moon-phase-wrong'],
    })
  })

  it.each([
    ['seconds', '7', 7000],
    ['a date', new Date(Date.now() + 60_000).toUTCString(), expect.closeTo(60_000, -4)],
    ['nonsense', 'soon', undefined],
  ])('says with Retry-After as %s when to come back', async (_form, header, retryAfterMs) => {
    answer(() => problem(429, { code: 'too-many' }, { 'retry-after': header }))
    expect(await failureOf(report())).toMatchObject({ retryable: true, retryAfterMs })
  })

  it('of status 503 is retryable by itself', async () => {
    answer(() => problem(503, { code: 'internal' }, { 'retry-after': '3' }))
    expect(await failureOf(report())).toMatchObject({ retryable: true, retryAfterMs: 3000 })
  })
})
