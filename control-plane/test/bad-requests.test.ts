import { createHash } from 'node:crypto'
import { policySha256 } from '@multiboard-sync/shared/policy'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  adminToken,
  answerOf,
  archiveOf,
  pollBody,
  policyOf,
  post,
  startSurroundings,
  type Agent,
  type Surroundings,
} from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }

let here: Surroundings
let agent: Agent
beforeAll(async () => {
  here = await startSurroundings()
  agent = await here.registerAgent('vps')
})
afterAll(async () => await here[Symbol.asyncDispose]())

const refusal = async (body: unknown, headers?: Record<string, string>) => {
  const { body: problem, status } = await here.person('POST', '/v1/jobs', body, headers)
  return { ...problem, status }
}

test('people without the token learn nothing', async () => {
  const { id } = await here.ask({ kind: 'export', source: 'production' })
  const paths = ['/v1/jobs', `/v1/jobs/${id}`, `/v1/jobs/${id}/events`, '/v1/archives', '/v1/agents', '/v1/jobs/none']
  const tokens = [
    '',
    'Bearer',
    'Bearer ',
    `Bearer ${adminToken}x`,
    `Bearer ${adminToken.slice(1)}`,
    `Basic ${adminToken}`,
  ]
  for (const path of paths) {
    for (const authorization of tokens) {
      const answer = await here.person('GET', path, undefined, { authorization })
      expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
      expect(JSON.stringify(answer.body)).not.toContain(adminToken.slice(1, 20))
    }
  }
  expect((await here.person('POST', '/v1/agents', {}, { authorization: '' })).status).toBe(401)
  expect((await here.person('GET', '/healthz', undefined, { authorization: '' })).status).toBe(200)
})

test('an agent request that is altered, old, re-addressed or signed by another key is refused', async () => {
  const stranger = await generateKeyPair('EdDSA')
  const url = here.control.url
  const path = '/v1/agent/poll'
  const body = JSON.stringify(pollBody(agent.policy))
  const facts = { method: 'POST', path, body, origin: url }
  const good = await signRequest(facts, 'vps', agent.key)
  expect((await post(`${url}${path}`, body, good)).status).toBe(200)
  // Captured and sent again within its minute: the same answer, nothing new happens.
  expect((await post(`${url}${path}`, body, good)).status).toBe(200)

  const claims = { htm: 'POST', htu: path, bh: createHash('sha256').update(body).digest('base64url') }
  const token = async (over: { audience?: string | string[]; typ?: string; ageS?: number }): Promise<string> => {
    const now = Math.floor(Date.now() / 1000) - (over.ageS ?? 0)
    const jwt = new SignJWT(claims)
      .setProtectedHeader({ alg: 'EdDSA', typ: over.typ ?? 'multiboard-sync-request+jwt' })
      .setIssuer('vps')
      .setAudience(over.audience ?? url)
      .setJti('a-token-of-this-test')
      .setIssuedAt(now)
      .setExpirationTime(now + 60)
    return `MBS-JWS ${await jwt.sign(agent.key)}`
  }
  const wrong: [string, string, string, string][] = [
    ['altered body', path, `${body} `, good],
    ['other path', '/v1/agent/archives', body, good],
    ['other query', `${path}?x=1`, body, good],
    ['other key', path, body, await signRequest(facts, 'vps', stranger.privateKey)],
    ['unknown agent', path, body, await signRequest(facts, 'nobody', agent.key)],
    ['agent named to break SQL', path, body, await signRequest(facts, "vps' or '1'='1", agent.key)],
    ['agent with a NUL', path, body, await signRequest(facts, 'vps\0', agent.key)],
    [
      'other origin',
      path,
      body,
      await signRequest({ ...facts, origin: 'https://elsewhere.example' }, 'vps', agent.key),
    ],
    ['two audiences', path, body, await token({ audience: [url, 'https://elsewhere.example'] })],
    ['an order used as a request', path, body, await token({ typ: 'multiboard-sync-order+jwt' })],
    ['too old', path, body, await token({ ageS: 120 })],
    ['from the future', path, body, await token({ ageS: -120 })],
    ['the admin token', path, body, `Bearer ${adminToken}`],
    ['rubbish', path, body, 'MBS-JWS a.b.c'],
    ['nothing', path, body, ''],
  ]
  for (const [what, to, text, authorization] of wrong) {
    expect({ what, ...(await post(`${url}${to}`, text, authorization)) }).toMatchObject({
      what,
      status: 401,
      body: { code: 'unauthorized' },
    })
  }
  expect((await post(`${url}${path}`, body, await token({}))).status).toBe(200)
})

test('T19: a body that is not JSON, too large, or not a job is refused by name and never echoed', async () => {
  const secret = 'postgres://user:hunter2@db.example/x'
  for (const body of ['', '{', `{"kind": ${secret}`, '<html></html>', '\u0000']) {
    const problem = await refusal(body)
    expect(problem).toMatchObject({ status: 400, code: 'malformed-json' })
    expect(JSON.stringify(problem)).not.toContain('hunter2')
  }
  const bodies = [
    'null',
    '[]',
    '"x"',
    {},
    { ...sync, kind: 'drop' },
    { ...sync, source: secret },
    { ...sync, tables: ['a\0b'] },
    { ...sync, tables: ['\ud800'] },
    { ...sync, tables: [secret, 7] },
    { ...sync, surprise: secret },
    { ...sync, start_within_seconds: 0 },
    { ...sync, start_within_seconds: 1e9 },
    { kind: 'restore', target: 'staging', archive: '../x' },
  ]
  for (const body of bodies) {
    const problem = await refusal(body)
    expect(problem).toMatchObject({ status: 422, code: 'invalid-request', errors: expect.any(Array) })
    expect(problem.errors.length).toBeGreaterThan(0)
    expect(JSON.stringify(problem)).not.toContain('hunter2')
  }
  const large = JSON.stringify({ ...sync, tables: ['x'.repeat(10 * 1024 * 1024)] })
  expect(await refusal(large)).toMatchObject({ status: 413, code: 'body-too-large' })
  // Without a length told in advance, too.
  const chunks = new ReadableStream({
    start(controller) {
      for (let n = 0; n < 10; n += 1) controller.enqueue(new Uint8Array(1024 * 1024))
      controller.close()
    },
  })
  const streamed = await fetch(`${here.control.url}/v1/jobs`, {
    method: 'POST',
    body: chunks,
    duplex: 'half',
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(20_000),
  })
  expect(await answerOf(streamed, 'POST')).toMatchObject({ status: 413, body: { code: 'body-too-large' } })
  expect(await agent.call('/v1/agent/poll', { big: 'x'.repeat(2 * 1024 * 1024) })).toMatchObject({ status: 413 })
  expect((await here.person('GET', '/healthz')).status).toBe(200)
})

test('fields that an agent must not send are refused', async () => {
  expect(await agent.call('/v1/agent/poll', { ...pollBody(agent.policy), database_url: 'postgres://x' })).toMatchObject(
    {
      status: 422,
      body: { code: 'invalid-request' },
    },
  )
})

test('what does not exist is a problem too, whatever its name', async () => {
  const paths = [
    '/',
    '/v1',
    '/v1/nothing',
    '/v1/jobs/x',
    '/v1/jobs/j000000000000',
    '/v1/jobs/%00/events',
    '/index.html',
    '/v1/jobs/%',
  ]
  for (const path of paths) {
    expect(await here.person('GET', path, undefined, { accept: 'text/html' })).toMatchObject({
      status: 404,
      body: { code: 'not-found' },
    })
  }
  expect((await agent.call('/v1/agent/jobs/%00/report', { epoch: 1 })).status).toBe(422)
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'cursor=x', 'cursor=WyJhIiwiYiJd']) {
    expect(await here.person('GET', `/v1/jobs?${query}`)).toMatchObject({
      status: 422,
      body: { code: 'invalid-request' },
    })
  }
  const { id } = await here.ask({ kind: 'export', source: 'production' })
  for (const query of ['after=-1', 'after=x', 'after=99999999999', 'limit=0']) {
    expect((await here.person('GET', `/v1/jobs/${id}/events?${query}`)).status).toBe(422)
  }
  const stream = { accept: 'text/event-stream', 'last-event-id': 'x' }
  expect((await here.person('GET', `/v1/jobs/${id}/events`, undefined, stream)).status).toBe(422)
})

test("what the agent's policy would refuse is refused when it is asked for", async () => {
  expect(await refusal({ ...sync, target: 'nowhere' })).toMatchObject({ status: 422, code: 'database-unknown' })
  expect(await refusal({ ...sync, source: 'staging', target: 'production' })).toMatchObject({
    code: 'target-protected',
    hint: expect.any(String),
  })
  expect(await refusal({ ...sync, target: 'production' })).toMatchObject({ code: 'same-database' })
  expect(await refusal({ kind: 'export', source: 'staging' })).toMatchObject({ code: 'policy-denied' })
  expect(await refusal({ ...sync, agent: 'nobody' })).toMatchObject({ status: 422, code: 'agent-unknown' })
})

test('a restore names an archive that is known, unless none was ever reported', async () => {
  const restore = { kind: 'restore', target: 'staging', archive: '20261122T080312Z-production-aaaa' }
  const unlisted = await here.ask(restore)
  expect(unlisted.state).toBe('queued')
  const backup = archiveOf('20261122T080312Z-staging-bbbb', { kind: 'safety-backup', source: 'staging' })
  const foreign = archiveOf('20261122T080312Z-other-dddd', { source: 'other' })
  await agent.call('/v1/agent/archives', { archives: [archiveOf(restore.archive), backup, foreign] })
  expect((await here.ask(restore)).state).toBe('queued')
  expect((await here.ask({ ...restore, archive: backup.id })).state).toBe('queued')
  expect(await refusal({ ...restore, archive: foreign.id })).toMatchObject({ code: 'policy-denied' })
  expect(await refusal({ ...restore, archive: '20261122T080312Z-production-zzzz' })).toMatchObject({
    code: 'archive-unknown',
  })
  expect(await refusal({ ...restore, target: 'nowhere' })).toMatchObject({ code: 'database-unknown' })
})

test('G16: the same request 50 times at once under one key is one job; another request under it is refused', async () => {
  const headers = { 'idempotency-key': 'a-key-of-this-test' }
  const answers = await Promise.all(
    Array.from({ length: 50 }, async () => await here.person('POST', '/v1/jobs', sync, headers)),
  )
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
  const ids = new Set(answers.map(({ body }) => body.id))
  expect(ids.size).toBe(1)
  expect(await refusal({ ...sync, engine: 'create' }, headers)).toMatchObject({
    status: 422,
    code: 'idempotency-conflict',
  })
  expect(await refusal(sync, { 'idempotency-key': 'x'.repeat(201) })).toMatchObject({ code: 'invalid-request' })
  // A request that was refused does not use its key up.
  const other = { 'idempotency-key': 'another-key' }
  expect((await refusal({ ...sync, target: 'nowhere' }, other)).code).toBe('database-unknown')
  expect((await here.person('POST', '/v1/jobs', sync, other)).status).toBe(201)
})

test('the list of jobs goes through all of them, newest first, page by page', async () => {
  await Promise.all(Array.from({ length: 7 }, async () => await here.ask({ kind: 'export', source: 'production' })))
  const seen: string[] = []
  let path = '/v1/jobs?limit=3'
  for (let pages = 0; pages < 50 && path !== ''; pages += 1) {
    const { body, headers } = await here.person('GET', path)
    seen.push(...body.jobs.map(({ created_at, id }) => `${created_at} ${id}`))
    path = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1] ?? ''
    expect(path === '').toBe(body.next === null)
  }
  const { rows } = await (await here.database.client()).query('select count(*)::integer as n from multiboard.jobs')
  expect(new Set(seen).size).toBe(rows[0].n)
  expect(seen).toEqual(seen.toSorted().toReversed())
})

test('an agent is registered once, by its public key alone', async () => {
  const pair = await generateKeyPair('EdDSA', { extractable: true })
  const public_jwk = await exportJWK(pair.publicKey)
  const register = async (id: string, jwk: unknown) => await here.person('POST', '/v1/agents', { id, public_jwk: jwk })
  const withSecret = await register('new', await exportJWK(pair.privateKey))
  expect(withSecret).toMatchObject({ status: 422, body: { code: 'invalid-request' } })
  expect((await register('new', public_jwk)).status).toBe(201)
  expect((await register('new', public_jwk)).status).toBe(200)
  expect((await register('vps', public_jwk)).body.code).toBe('conflict')
  expect((await register('newer', public_jwk)).body.code).toBe('conflict')
  for (const jwk of [{}, { kty: 'RSA', n: 'x', e: 'AQAB' }, { kty: 'OKP', crv: 'Ed25519', x: 'short' }]) {
    expect((await register('broken', jwk)).status).toBe(422)
  }
  const { body } = await here.person('GET', '/v1/agents')
  expect(body).toMatchObject({
    agents: [
      { id: 'new', last_seen_at: null },
      { id: 'vps', version: '0.1.0', policy_sha256: policySha256(policyOf()) },
    ],
    signing_kid: here.control.kid,
  })
})

test('an error that nobody foresaw says nothing outside and little in the log', async () => {
  const client = await here.database.client()
  await client.query("alter table multiboard.jobs add constraint unforeseen check (requested_by <> 'admin') not valid")
  const { status, code } = await refusal(sync)
  await client.query('alter table multiboard.jobs drop constraint unforeseen')
  expect({ status, code }).toEqual({ status: 500, code: 'internal' })
  const logged = here.logged.at(-1) ?? ''
  expect(logged).toContain('unforeseen')
  expect(logged).not.toContain('Failing row')
  expect(logged).not.toContain('production')
})

test('a body nested too deep is refused like any other wrong body', async () => {
  await here.ask(sync)
  const order = await agent.claim()
  if (!order) throw new Error('no order')
  const statuses = []
  for (const depth of [30, 70, 3000, 200_000]) {
    const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`
    statuses.push(
      (await here.person('POST', '/v1/jobs', `{"kind":"export","source":"production","tables":${deep}}`)).status,
    )
    const event = `{"aseq":1,"type":"a.b","level":"info","at":"2026-11-22T08:00:00Z","data":{"deep":${deep}}}`
    const report = `{"epoch":1,"phase":"exporting","stalled_ms":0,"events":[${event}]}`
    const path = `/v1/agent/jobs/${order.job.id}/report`
    const facts = { method: 'POST', path, body: report, origin: here.control.url }
    statuses.push((await post(`${here.control.url}${path}`, report, await signRequest(facts, 'vps', agent.key))).status)
  }
  expect(statuses).toEqual([422, 200, 422, 422, 422, 422, 422, 422])
})
