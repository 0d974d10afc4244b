import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { issuersSchema } from '../src/people/issuer.ts'
import { openApp } from '../src/open-app.ts'
import { openDatabase } from '../src/store/open-database.ts'
import { adminToken, answerOf, startSurroundings, type Answer, type Surroundings } from './surroundings.ts'

const CALL_TIMEOUT_MS = 20_000

let here: Surroundings
beforeAll(async () => void (here = await startSurroundings()))
afterAll(async () => await here[Symbol.asyncDispose]())

interface Call {
  cookie?: string | undefined
  headers?: Record<string, string>
  body?: unknown
}

/** A call as a browser makes it: no token, and by default from our own page. */
async function browser(method: string, path: string, { body, cookie, headers }: Call = {}): Promise<Answer> {
  const own = { origin: here.control.url, 'content-type': 'application/json' }
  const response = await fetch(`${here.control.url}${path}`, {
    method,
    headers: { ...(cookie === undefined ? {} : { cookie }), ...(headers ?? own) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  })
  return await answerOf(response)
}

async function logIn(token: string = adminToken, cookie?: string): Promise<{ cookie: string; set: string }> {
  const answer = await browser('POST', '/v1/session', { body: { token }, cookie })
  expect(answer).toMatchObject({ status: 200, body: { via: 'session' } })
  const set = answer.headers.get('set-cookie') ?? ''
  return { set, cookie: set.split(';')[0] ?? '' }
}

const makeToken = async (role: string, days = 30) =>
  (await here.person('POST', '/v1/tokens', { label: 'browser', role, expires_in_days: days })).body as unknown as {
    id: string
    token: string
  }

const me = async (cookie: string) => await browser('GET', '/v1/me', { cookie })
const unauthorized = { status: 401, body: { code: 'unauthorized' } }
const forbidden = { status: 403, body: { code: 'forbidden' } }

test('a session is who began it, until it is ended', async () => {
  const { token } = await makeToken('operator')
  const { cookie } = await logIn(token)
  expect(await me(cookie)).toMatchObject({ status: 200, body: { name: 'token:browser', role: 'operator' } })
  expect(await browser('GET', '/v1/tokens', { cookie })).toMatchObject(forbidden)
  const ended = await browser('DELETE', '/v1/session', { cookie })
  expect(ended.status).toBe(204)
  expect(ended.headers.get('set-cookie')).toContain('Max-Age=0')
  expect(await me(cookie)).toMatchObject(unauthorized)
})

test('a new login gives a new session and ends the one before', async () => {
  const first = await logIn()
  const second = await logIn(adminToken, first.cookie)
  expect(second.cookie).not.toBe(first.cookie)
  expect(await me(first.cookie)).toMatchObject(unauthorized)
  expect((await me(second.cookie)).status).toBe(200)
  // Nobody can choose the id of a session for somebody else.
  const planted = `multiboard=${'A'.repeat(43)}`
  expect((await logIn(adminToken, planted)).cookie).not.toBe(planted)
  expect(await me(planted)).toMatchObject(unauthorized)
})

test('a session ends with its token, with its time, and with another ADMIN_TOKEN', async () => {
  const client = await here.database.client()
  const revoked = await makeToken('viewer')
  const ofRevoked = (await logIn(revoked.token)).cookie
  await here.person('DELETE', `/v1/tokens/${revoked.id}`)
  expect(await me(ofRevoked)).toMatchObject(unauthorized)

  const short = await makeToken('viewer', 1)
  const ofShort = (await logIn(short.token)).cookie
  await client.query("update multiboard.api_tokens set expires_at = now() - interval '1 second' where id = $1", [
    short.id,
  ])
  expect(await me(ofShort)).toMatchObject(unauthorized)

  const { cookie } = await logIn()
  const { rows } = await client.query(
    "select max(expires_at) > now() + interval '12 hours 1 minute' as long from multiboard.sessions",
  )
  expect(rows).toEqual([{ long: false }])
  await using database = openDatabase(here.database.url, (error) => {
    throw error
  })
  const { app } = await openApp(
    { adminToken: `${adminToken}-changed`, lease: { leaseMs: 90_000, graceMs: 30_000 }, signingKey: await anyKey() },
    {
      database,
      origin: here.control.url,
      stopping: new AbortController().signal,
      stream: anyStream,
      log: () => undefined,
    },
  )
  const elsewhere = await app.fetch(new Request(`${here.control.url}/v1/me`, { headers: { cookie } }))
  expect(await answerOf(elsewhere)).toMatchObject(unauthorized)
  expect((await me(cookie)).status).toBe(200)
  await client.query("update multiboard.sessions set expires_at = now() - interval '1 second'")
  expect(await me(cookie)).toMatchObject(unauthorized)
})

const anyKey = async () => await exportJWK((await generateKeyPair('EdDSA', { extractable: true })).privateKey)
const anyStream = { pollMs: 100, heartbeatMs: 1000, rotateMs: 1000 }

test('an admin ends all sessions of somebody who lost their machine, and nobody else’s', async () => {
  const mine = (await logIn()).cookie
  const { token } = await makeToken('viewer')
  const lost = [(await logIn(token)).cookie, (await logIn(token)).cookie]
  const ended = await here.person('POST', '/v1/sessions/revoke', { subject: 'token:browser' })
  expect(ended).toMatchObject({ status: 200, body: { ended: 2 } })
  for (const cookie of lost) expect(await me(cookie)).toMatchObject(unauthorized)
  expect((await me(mine)).status).toBe(200)
})

test('T13: the cookie is out of reach of scripts and of other hosts', async () => {
  const { set } = await logIn()
  expect(set).toMatch(/^multiboard=[\w-]{43}; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Lax$/)
  // Over https it carries a name that a browser takes from this host alone.
  await using https = await startSurroundings({ publicUrl: 'https://sync.example.com' })
  const headers = { origin: 'https://sync.example.com', 'content-type': 'application/json' }
  const answer = await https.person('POST', '/v1/session', { token: adminToken }, headers)
  const secure = answer.headers.get('set-cookie') ?? ''
  expect(secure).toMatch(/^__Host-multiboard=[\w-]{43}; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/)
  const plain = secure.replace('__Host-', '').split(';')[0] ?? ''
  expect(await https.person('GET', '/v1/me', undefined, { authorization: 'Bearer x', cookie: plain })).toMatchObject(
    unauthorized,
  )
  // Over http between machines anybody could read it: there is none.
  await using http = await startSurroundings({ publicUrl: 'http://sync.example.com' })
  expect(
    await http.person('POST', '/v1/session', { token: adminToken }, { 'content-type': 'application/json' }),
  ).toMatchObject(forbidden)
})

test('T13: what another site makes a browser send with our cookie is refused, and does nothing', async () => {
  const { cookie } = await logIn()
  const job = JSON.stringify({ kind: 'export', source: 'production' })
  const json = { 'content-type': 'application/json' }
  const attacks: [string, string, Record<string, string>, string?][] = [
    ['POST', '/v1/jobs', { ...json, origin: 'https://evil.example.com', 'sec-fetch-site': 'cross-site' }, job],
    ['POST', '/v1/jobs', { ...json, origin: 'https://evil.example.com' }, job],
    ['POST', '/v1/jobs', { ...json, origin: 'null' }, job],
    ['POST', '/v1/jobs', { ...json, 'sec-fetch-site': 'same-site' }, job],
    ['POST', '/v1/jobs', json, job],
    ['POST', '/v1/jobs', { origin: here.control.url, 'content-type': 'text/plain' }, job],
    ['POST', '/v1/tokens', { 'content-type': 'text/plain', origin: 'https://evil.example.com' }, job],
    ['DELETE', '/v1/tokens/0123456789abcdef', { origin: 'https://evil.example.com' }],
    ['DELETE', '/v1/session', { 'sec-fetch-site': 'cross-site' }],
    ['POST', '/v1/jobs/j000000000000/cancel', { origin: here.control.url }],
    ['GET', '/v1/jobs', { 'sec-fetch-site': 'cross-site' }],
    ['GET', '/v1/jobs/j000000000000/events', { accept: 'text/event-stream', origin: 'https://evil.example.com' }],
    ['GET', '/v1/jobs/j000000000000/events', { accept: 'text/event-stream', 'sec-fetch-site': 'same-site' }],
  ]
  for (const [method, path, headers, body] of attacks) {
    const answer = await browser(method, path, { cookie, headers, body })
    // 415 is as good as 403: a form's body is not looked at.
    expect([403, 415], `${method} ${path} ${JSON.stringify(headers)}`).toContain(answer.status)
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  }
  expect((await me(cookie)).status).toBe(200)
  expect((await here.person('GET', '/v1/jobs')).body.jobs).toEqual([])
  // Nobody is logged in as somebody else by another site either.
  const login = await browser('POST', '/v1/session', {
    body: { token: adminToken },
    headers: { ...json, origin: 'https://evil.example.com', 'sec-fetch-site': 'cross-site' },
  })
  expect(login).toMatchObject(forbidden)
  expect(login.headers.get('set-cookie')).toBeNull()
})

test('T13: our own page is let in, and a program with a token needs to say no origin', async () => {
  const { cookie } = await logIn()
  const made = await browser('POST', '/v1/tokens', {
    cookie,
    body: { label: 'by page', role: 'viewer', expires_in_days: 1 },
  })
  expect(made.status).toBe(201)
  const wrong = { cookie: 'multiboard=x', origin: 'https://evil.example.com' }
  expect((await here.person('GET', '/v1/me', undefined, wrong)).status).toBe(200)
})

test('people of an OpenID Connect issuer come in with its tokens, by the keys it publishes', async () => {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
  let isAway = false
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'RS256', use: 'sig' }] }
  await using provider = await startProvider(() => (isAway ? undefined : keys))
  const issuer = 'https://id.example.com'
  const issuers = issuersSchema.parse([
    {
      issuer,
      audience: 'sync',
      jwks_url: provider.url,
      algorithms: ['RS256'],
      role_claim: 'groups',
      roles: { engineers: 'operator' },
    },
  ])
  await using with_ = await startSurroundings({ issuers, adminToken: undefined })
  expect(with_.control.firstToken).toBeUndefined()
  const idToken = async (claims: object = {}, kid = 'k1') =>
    await new SignJWT({ groups: ['engineers'], ...claims })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid })
      .setIssuer(issuer)
      .setAudience(['sync', 'other'])
      .setSubject('ada')
      .setIssuedAt()
      .setExpirationTime('1 hour')
      .sign(privateKey)
  const ask = async (token: string) =>
    await with_.person('GET', '/v1/me', undefined, { authorization: `Bearer ${token}` })
  isAway = true
  // That the issuer does not answer is no fault of the token: the same call may succeed later.
  expect(await ask(await idToken())).toMatchObject({ status: 500, body: { code: 'internal', retryable: true } })
  isAway = false
  expect(await ask(await idToken())).toMatchObject({
    status: 200,
    body: { name: 'id.example.com:ada', role: 'operator' },
  })
  expect(await ask(await idToken({ groups: ['guests'] }))).toMatchObject(forbidden)
  expect(await ask(await idToken({}, 'k2'))).toMatchObject(unauthorized)
  const session = await with_.person(
    'POST',
    '/v1/session',
    { token: await idToken() },
    { 'content-type': 'application/json' },
  )
  expect(session).toMatchObject({ status: 200, body: { name: 'id.example.com:ada', role: 'operator', via: 'session' } })
})

async function startProvider(answer: () => object | undefined) {
  const server = createServer((_, response) => {
    const body = answer()
    response.writeHead(body ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
  return {
    url,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
