import type { JobState } from '@multiboard-sync/shared/job-state'
import { hc } from 'hono/client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { App } from '../src/create-app.ts'
import { checkAnswer } from './check-answer.ts'
import {
  adminToken,
  answerOf,
  eventsOf,
  pollBody,
  startSurroundings,
  type Agent,
  type Surroundings,
} from './surroundings.ts'

/** What holds for every route: problems, headers, limits, idempotency, revalidation, types for callers. */

const CALL_TIMEOUT_MS = 20_000
const sync = { kind: 'sync', source: 'production', target: 'staging' } as const

let here: Surroundings
let agent: Agent
beforeAll(async () => {
  here = await startSurroundings()
  agent = await here.registerAgent('vps')
})
afterAll(async () => await here[Symbol.asyncDispose]())

async function sql(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const { rows } = await (await here.database.client()).query<Record<string, unknown>>(text, values)
  return rows
}

test('a method that a path does not know is told which it knows; what is not there is not there', async () => {
  for (const [method, path, allow] of [
    ['DELETE', '/v1/jobs', 'GET, HEAD, POST'],
    ['PUT', '/v1/jobs/j0123456789ab', 'GET, HEAD'],
    ['GET', '/v1/jobs/j0123456789ab/cancel', 'POST'],
    ['OPTIONS', '/v1/jobs', 'GET, HEAD, POST'],
    ['POST', '/healthz', 'GET, HEAD'],
  ] as const) {
    const { body, headers, status } = await here.person(method, path)
    expect({ method, path, status, code: body.code, allow: headers.get('allow') }).toEqual({
      method,
      path,
      status: 405,
      code: 'method-not-allowed',
      allow,
    })
  }
  for (const path of ['/v1/nothing', '/v2/jobs', '/', '/v1', '/v1/jobs/j0123456789ab/other']) {
    expect(await here.person('GET', path)).toMatchObject({ status: 404, body: { code: 'not-found' } })
  }
  // Without a proof nobody learns what there is.
  const asked = await fetch(`${here.control.url}/v1/jobs`, {
    method: 'DELETE',
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  })
  expect((await answerOf(asked, 'DELETE')).status).toBe(401)
  expect(await agent.call('/v1/agent/nothing', {})).toMatchObject({ status: 404 })
})

test('a HEAD is answered like a GET, without a body', async () => {
  const response = await fetch(`${here.control.url}/healthz`, { method: 'HEAD' })
  expect([response.status, await response.text()]).toEqual([200, ''])
})

test('T13: a body that does not say that it is JSON is not looked at', async () => {
  const forms = [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonx',
  ]
  for (const type of forms) {
    expect(await here.person('POST', '/v1/jobs', sync, { 'content-type': type })).toMatchObject({
      status: 415,
      body: { code: 'unsupported-media-type', hint: expect.stringContaining('application/json') },
    })
  }
  const bytes = await fetch(`${here.control.url}/v1/jobs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminToken}` },
    body: new TextEncoder().encode(JSON.stringify(sync)),
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  })
  expect((await answerOf(bytes, 'POST')).status).toBe(415)
  expect(
    (await here.person('POST', '/v1/jobs', sync, { 'content-type': 'Application/JSON; charset=utf-8' })).status,
  ).toBe(201)
})

test('T14: no answer can be run, framed or kept by a browser, whatever it is', async () => {
  const answers = [
    await here.person('GET', '/healthz'),
    await here.person('GET', '/v1/jobs'),
    await here.person('GET', '/v1/nothing'),
    await here.person('POST', '/v1/jobs', '{'),
    await agent.call('/v1/agent/poll', {}),
  ]
  const { id } = await here.ask({ kind: 'export', source: 'production' })
  const stream = await fetch(`${here.control.url}/v1/jobs/${id}/events`, {
    headers: { authorization: `Bearer ${adminToken}`, accept: 'text/event-stream' },
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  })
  await stream.body?.cancel()
  const contentType = stream.headers.get('content-type')
  await checkAnswer({ method: 'GET', path: `/v1/jobs/${id}/events`, status: stream.status, contentType, body: '' })
  expect(contentType).toContain('text/event-stream')
  for (const { headers, status } of [...answers, stream]) {
    expect(headers.get('content-security-policy'), `${status}`).toBe(
      "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('x-frame-options')).toBe('DENY')
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
    expect(headers.get('cache-control')).toMatch(/no-store|no-cache/)
    expect(headers.get('access-control-allow-origin')).toBeNull()
  }
})

test('T14: what an agent says of a table comes out as text, in JSON that says it is JSON', async () => {
  const evil = '<img src=x onerror=alert(1)>'
  const { id } = await here.ask({ kind: 'export', source: 'production' })
  const order = await agent.begin()
  const [event] = eventsOf(1, 1)
  await agent.report(order, [{ ...event!, data: { table: evil } }])
  const { body, headers } = await here.person('GET', `/v1/jobs/${order.job.id}/events`)
  expect(headers.get('content-type')).toContain('application/json')
  expect(body.events.at(-1)?.data).toEqual({ table: evil })
  expect(id).toMatch(/^j/)
  await agent.complete(order, { target_state: 'untouched' }, 1)
})

test('a list and a job are sent again only when they have changed', async () => {
  const { id } = await here.ask({ kind: 'export', source: 'production' })
  for (const path of ['/v1/jobs', `/v1/jobs/${id}`, '/v1/archives', '/v1/agents']) {
    const first = await here.person('GET', path)
    const etag = first.headers.get('etag') ?? ''
    expect(etag, path).toMatch(/^W\/"[\w-]{22}"$/)
    expect(first.headers.get('cache-control')).toBe('private, no-cache')
    for (const named of [etag, etag.slice(2), `"other", ${etag}`, '*']) {
      const again = await here.person('GET', path, undefined, { 'if-none-match': named })
      expect([again.status, again.headers.get('etag'), again.headers.get('content-type')]).toEqual([304, etag, null])
    }
    expect((await here.person('GET', path, undefined, { 'if-none-match': '"other"' })).status).toBe(200)
  }
  const before = (await here.person('GET', `/v1/jobs/${id}`)).headers.get('etag') ?? ''
  await here.person('POST', `/v1/jobs/${id}/cancel`)
  const after = await here.person('GET', `/v1/jobs/${id}`, undefined, { 'if-none-match': before })
  expect([after.status, after.headers.get('etag') === before]).toEqual([200, false])
  // What is refused is not revalidated.
  expect((await here.person('GET', '/v1/jobs/none', undefined, { 'if-none-match': '*' })).status).toBe(404)
})

test('a request keeps the id that it came with, and gets one when it has none or a strange one', async () => {
  const given = await here.person('GET', '/v1/jobs/none', undefined, { 'x-request-id': 'my-request-17' })
  expect([given.headers.get('x-request-id'), given.body]).toMatchObject([
    'my-request-17',
    { instance: 'my-request-17' },
  ])
  for (const strange of ['"} {"level":"error', 'x'.repeat(300), 'a b']) {
    const made = (await here.person('GET', '/healthz', undefined, { 'x-request-id': strange })).headers.get(
      'x-request-id',
    )
    expect(made).toMatch(/^[0-9a-f-]{36}$/)
  }
})

test('T15: every request is logged by its pattern: no path, no query, no ticket, no token', async () => {
  here.requests.length = 0
  await here.person('GET', '/v1/jobs/none/events?ticket=hunter2&after=0', undefined, { 'x-request-id': 'logged-1' })
  await here.person('GET', '/v1/hunter2?x=hunter2', undefined, { 'x-request-id': 'logged-2' })
  await agent.poll()
  const records = here.requests.map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(records).toEqual([
    expect.objectContaining({
      request: 'logged-1',
      method: 'GET',
      route: '/v1/jobs/:id/events',
      ms: expect.any(Number),
    }),
    expect.objectContaining({ request: 'logged-2', route: 'none', status: 404 }),
    expect.objectContaining({ method: 'POST', route: '/v1/agent/poll', status: 200 }),
  ])
  expect(Object.keys(records[0] ?? {}).toSorted()).toEqual([
    'event',
    'level',
    'method',
    'ms',
    'request',
    'route',
    'status',
  ])
  expect(here.requests.join()).not.toMatch(/hunter2|an-admin-token/)
})

test('G16: whatever is asked for under one key is done once, and answered alike, word for word', async () => {
  const { id } = await here.ask({ kind: 'export', source: 'production' })
  const headers = { 'idempotency-key': 'cancel-once' }
  const cancels = await Promise.all(
    Array.from({ length: 20 }, async () => await here.person('POST', `/v1/jobs/${id}/cancel`, undefined, headers)),
  )
  expect(new Set(cancels.map(({ body, status }) => JSON.stringify([status, body]))).size).toBe(1)
  expect(cancels[0]).toMatchObject({ status: 200, body: { state: 'canceled' } })
  const asked = (await here.events(id)).filter(({ type }) => type === 'cancel.requested')
  expect(asked).toHaveLength(1)

  // The first answer, though the job has moved on since.
  const made = await here.person('POST', '/v1/jobs', sync, { 'idempotency-key': 'moved-on' })
  await here.person('POST', `/v1/jobs/${made.body.id}/cancel`)
  const again = await here.person('POST', '/v1/jobs', sync, { 'idempotency-key': 'moved-on' })
  expect([again.status, again.body]).toEqual([201, made.body])
  expect(again.headers.get('location')).toBe(made.headers.get('location'))
  // The key of a job is not that of its cancel.
  expect(
    await here.person('POST', `/v1/jobs/${made.body.id}/cancel`, undefined, { 'idempotency-key': 'moved-on' }),
  ).toMatchObject({ status: 422, body: { code: 'idempotency-conflict' } })
})

test('G16: a key belongs to its person, and is free again after a day', async () => {
  const headers = { 'idempotency-key': 'a-key-of-two' }
  const token = await here.person('POST', '/v1/tokens', { label: 'other', role: 'operator', expires_in_days: 1 })
  const authorization = `Bearer ${(token.body as unknown as { token: string }).token}`
  const first = await here.person('POST', '/v1/jobs', sync, headers)
  const second = await here.person('POST', '/v1/jobs', sync, { ...headers, authorization })
  expect(second.body.id).not.toBe(first.body.id)
  await sql(
    "update multiboard.idempotency_keys set created_at = now() - interval '25 hours' where key = 'a-key-of-two'",
  )
  const next = await here.person('POST', '/v1/jobs', { ...sync, engine: 'merge' }, headers)
  expect([next.status, next.body.id === first.body.id]).toEqual([201, false])
})

test('G16: what was answered with a secret is not told again, and not kept', async () => {
  const body = { label: 'once', role: 'viewer', expires_in_days: 1 }
  const headers = { 'idempotency-key': 'a-secret-once' }
  const made = await here.person('POST', '/v1/tokens', body, headers)
  expect(made.status).toBe(201)
  expect(await here.person('POST', '/v1/tokens', body, headers)).toMatchObject({
    status: 409,
    body: { code: 'conflict' },
  })
  expect(await sql("select answer from multiboard.idempotency_keys where key = 'a-secret-once'")).toEqual([
    { answer: null },
  ])
  expect(await sql("select from multiboard.api_tokens where label = 'once'")).toHaveLength(1)
})

test('G16: a request whose twin is still at work after seconds is told to come back', async () => {
  const client = await here.database.client()
  await client.query('begin')
  await client.query(
    "insert into multiboard.idempotency_keys (actor, key, request_sha256) values ('admin', 'at-work', 'x')",
  )
  const { body, headers, status } = await here.person('POST', '/v1/jobs', sync, { 'idempotency-key': 'at-work' })
  await client.query('rollback')
  expect([status, body.code, headers.get('retry-after')]).toEqual([409, 'idempotency-busy', '2'])
  expect((await here.person('POST', '/v1/jobs', sync, { 'idempotency-key': 'at-work' })).status).toBe(201)
})

test('T20: when the clock of the database is set back, nobody is held up for calls that were counted before', async () => {
  await using here = await startSurroundings({ limits: { person: 5, agent: 5, stranger: 5 } })
  const person = await here.person('GET', '/v1/me')
  expect(person.status).toBe(200)
  const client = await here.database.client()
  await client.query("update multiboard.rate_limits set window_start = now() + interval '1 hour', calls = 1000")
  expect((await here.person('GET', '/v1/me')).status).toBe(200)
})

test('T19: who calls too often is told how long to wait, and nobody else is', async () => {
  await using limited = await startSurroundings({
    limits: { person: 30, agent: 12, stranger: 10 },
    addressHeader: 'x-forwarded-for',
  })
  const busy = await limited.registerAgent('busy')
  const calm = await limited.registerAgent('calm')
  const tooOften = { status: 429, body: { code: 'rate-limited', retryable: true } }

  const polls = []
  for (let n = 0; n < 14; n += 1) polls.push(await busy.call('/v1/agent/poll', pollBody(busy.policy)))
  expect(polls.filter(({ status }) => status === 200)).toHaveLength(11)
  expect(polls.at(-1)).toMatchObject(tooOften)
  const wait = Number(polls.at(-1)?.headers.get('retry-after'))
  expect(wait).toBeGreaterThan(0)
  expect(wait).toBeLessThanOrEqual(60)
  expect(await busy.call('/v1/agent/archives', { archives: [] })).toMatchObject(tooOften)
  // What it says of its jobs is heard all the same.
  expect((await busy.call('/v1/agent/jobs/j0123456789ab/accept', { epoch: 1, verdict: 'accepted' })).status).toBe(404)
  expect(await calm.call('/v1/agent/archives', { archives: [] })).toMatchObject({ status: 200 })

  const stranger = async (address: string, path = '/v1/jobs') =>
    await answerOf(
      await fetch(`${limited.control.url}${path}`, {
        headers: { authorization: 'Bearer wrong', 'x-forwarded-for': `spoofed, ${address}` },
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      }),
    )
  const refused = []
  for (let n = 0; n < 12; n += 1) refused.push((await stranger('203.0.113.7')).status)
  expect(refused).toEqual([...Array.from({ length: 10 }, () => 401), 429, 429])
  expect((await stranger('203.0.113.8')).status).toBe(401)
  // Somebody with a good token behind the same address is not held up.
  const neighbour = { 'x-forwarded-for': 'spoofed, 203.0.113.7' }
  expect((await limited.person('GET', '/v1/jobs', undefined, neighbour)).status).toBe(200)

  let last
  for (let n = 0; n < 30; n += 1) last = await limited.person('GET', '/v1/me')
  expect(last).toMatchObject(tooOften)
  expect((await limited.person('GET', '/healthz')).status).toBe(200)
  // A minute later it is as if nothing had been.
  const client = await limited.database.client()
  await client.query("update multiboard.rate_limits set window_start = window_start - interval '1 minute'")
  expect((await limited.person('GET', '/v1/me')).status).toBe(200)
})

test('T19: of a job with too many events the rest is taken and not kept, and it ends as it should', async () => {
  const job = await here.ask({ kind: 'export', source: 'production', agent: 'vps' })
  let order = await agent.begin()
  while (order.job.id !== job.id) {
    await agent.complete(order, { target_state: 'untouched' })
    order = await agent.begin()
  }
  await sql('update multiboard.jobs set last_pos = 49999 where id = $1', [job.id])
  const flooded = await agent.report(order, eventsOf(1, 200))
  expect(flooded).toMatchObject({ status: 200, body: { ack_aseq: 200 } })
  expect(await agent.report(order, eventsOf(201, 400))).toMatchObject({ status: 200, body: { ack_aseq: 400 } })
  expect(await agent.complete(order, { target_state: 'untouched' }, 400)).toMatchObject({ status: 200 })
  const { body } = await here.person('GET', `/v1/jobs/${job.id}/events?after=49999&limit=500`)
  expect(body.events.map(({ type }) => type)).toEqual(['table.exported', 'events.capped', 'job.succeeded'])
})

test('the document is served, and says of itself what it is', async () => {
  const { body, headers } = await here.person('GET', '/v1/openapi.json', undefined, { authorization: '' })
  const document = body as unknown as { openapi: string; paths: Record<string, unknown> }
  expect(document.openapi).toBe('3.1.0')
  expect(Object.keys(document.paths)).toContain('/v1/openapi.json')
  expect(headers.get('content-type')).toContain('application/json')
})

test('hono/client knows every route, what it takes and what it answers', async () => {
  const client = hc<App>(here.control.url, { headers: { authorization: `Bearer ${adminToken}` } })
  const made = await client.v1.jobs.$post({ json: sync })
  expect(made.status).toBe(201)
  const job = await made.json()
  const state: JobState = job.state
  expect(state).toBe('queued')
  const seen = await client.v1.jobs[':id'].$get({ param: { id: job.id } })
  expect((await seen.json()).id).toBe(job.id)
  const { jobs, next } = await (await client.v1.jobs.$get({ query: { limit: '2' } })).json()
  expect([jobs.length, typeof next]).toEqual([2, 'string'])
  const stopped = await client.v1.jobs[':id'].cancel.$post({ param: { id: job.id } })
  expect((await stopped.json()).state).toBe('canceled')

  // Never called: the compiler must refuse them.
  const wrong = [
    // @ts-expect-error a job needs a kind
    async () => await client.v1.jobs.$post({ json: { source: 'production' } }),
    // @ts-expect-error there is no such route
    async () => await client.v1.nothing.$get(),
    // @ts-expect-error the answer has no such field
    async () => (await (await client.v1.jobs.$get()).json()).nothing,
  ]
  expect(wrong).toHaveLength(3)
})
