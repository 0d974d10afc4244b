import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { proveKey } from '@multiboard-sync/shared/agent-key'
import { freePort } from '@multiboard-sync/shared/testing/postgres/free-port'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair, type CryptoKey, type JWK } from 'jose'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { enrollAgent } from '../src/agents/enroll-agent.ts'
import { makeEnrollment } from '../src/agents/make-enrollment.ts'
import { revokeAgent } from '../src/agents/revoke-agent.ts'
import type { ControlPlane } from '../src/control-plane.ts'
import { makeOrderSigner } from '../src/orders/order-signer.ts'
import { beginSession } from '../src/people/begin-session.ts'
import { issuersSchema } from '../src/people/issuer.ts'
import { revokeToken } from '../src/people/revoke-token.ts'
import { startControlPlane } from '../src/start-control-plane.ts'
import { openDatabase, type Database } from '../src/store/open-database.ts'
import { adminToken, policyOf, pollBody, startSurroundings, type Answer, type Surroundings } from './surroundings.ts'

/* What an attacker tries against the control plane. */

const CALL_TIMEOUT_MS = 20_000
const AUDIT_LOCK = 7_305_102
const FIRST_TOKEN_LOCK = 7_305_103
const origin = 'https://sync.example.com'

let here: Surroundings
let database: Database
const pinned = await generateKeyPair('ES256', { extractable: true })
beforeAll(async () => {
  const issuers = issuersSchema.parse([
    {
      issuer: 'admin-app',
      audience: 'sync',
      public_jwk: await exportJWK(pinned.publicKey),
      algorithms: ['ES256', 'ES384', 'EdDSA'],
      default_role: 'viewer',
    },
  ])
  here = await startSurroundings({ issuers })
  database = openDatabase(here.database.url, () => undefined)
})
afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await here[Symbol.asyncDispose]()
})

const cursorOf = (...key: string[]): string => Buffer.from(JSON.stringify(key)).toString('base64url')

interface Proof {
  jwk: JWK
  key: CryptoKey
}

async function newKey(): Promise<Proof> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  return { jwk: await exportJWK(publicKey), key: privateKey }
}

/** Enrols through `through`, another view of the same database. */
async function enroll(code: string, through: Database): Promise<unknown> {
  const signer = await makeOrderSigner(
    await exportJWK((await generateKeyPair('EdDSA', { extractable: true })).privateKey),
  )
  const { jwk, key } = await newKey()
  const proof = await proveKey({ code, origin }, key)
  const control = { database: through, origin, signer } as ControlPlane
  return await enrollAgent(control, { code, public_jwk: jwk as never, proof })
}

/** The same database; before each statement of a transaction others do what `between` does. */
function disturbed(between: (sql: string) => Promise<void>): Database {
  return {
    ...database,
    transaction: async (work) =>
      await database.transaction(
        async ({ query }) =>
          await work({
            query: async (sql, values) => {
              await between(sql)
              return await query(sql, values)
            },
          }),
      ),
  }
}

test('T19: calls that are forbidden count, too: of who may not, and of an agent that was revoked', async () => {
  await using limited = await startSurroundings({ limits: { person: 50, agent: 50, stranger: 5 } })
  const agent = await limited.registerAgent('gone')
  await limited.person('POST', '/v1/agents/gone/revoke')
  const calls: Answer[] = []
  for (let n = 0; n < 8; n += 1) calls.push(await agent.call('/v1/agent/poll', pollBody(agent.policy)))
  expect(calls.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403, 429, 429, 429])
  // Of a person's calls from the same address only those are held up that they may not make.
  const made = await limited.person('POST', '/v1/tokens', { label: 'looker', role: 'viewer', expires_in_days: 1 })
  const { token } = made.body as unknown as { token: string }
  const looker = { authorization: `Bearer ${token}` }
  expect((await limited.person('GET', '/v1/audit', undefined, looker)).status).toBe(429)
  expect((await limited.person('GET', '/v1/me', undefined, looker)).status).toBe(200)
})

test('T24: a code that is on its way while its agent is revoked lets nobody in any more', async () => {
  await here.registerAgent('raced')
  const { code } = await makeEnrollment(database, 'raced', 'admin')
  let isFirst = true
  const late = disturbed(async () => {
    if (isFirst) await revokeAgent(database, 'raced', 'admin')
    isFirst = false
  })
  await expect(enroll(code, late)).rejects.toMatchObject({ code: 'enrollment-refused' })
})

test('T24: a code that is being made while its agent is revoked is void with it', async () => {
  await here.registerAgent('made')
  const client = await here.database.client()
  await client.query('begin')
  await client.query('select pg_advisory_xact_lock($1)', [AUDIT_LOCK])
  const made = makeEnrollment(database, 'made', 'admin')
  await waiting(1)
  const revoked = revokeAgent(database, 'made', 'admin')
  await waiting(2)
  await client.query('rollback')
  const [{ code }] = await Promise.all([made, revoked])
  const told = await client.query<{ action: string }>(
    "select action from multiboard.audit where object = 'agent:made' order by n desc limit 1",
  )
  expect(told.rows).toEqual([{ action: 'agent.revoked' }])
  await expect(enroll(code, database)).rejects.toMatchObject({ code: 'enrollment-refused' })
})

/** Until so many of the others wait for a lock. */
async function waiting(count: number): Promise<void> {
  const client = await here.database.client()
  await vi.waitFor(
    async () => {
      const { rows } = await client.query(
        "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      )
      expect(rows.length).toBeGreaterThanOrEqual(count)
    },
    { timeout: CALL_TIMEOUT_MS },
  )
  await client.end()
}

test('a login anew while its token is revoked does not stand in the way of the revocation', async () => {
  const { body } = await here.person('POST', '/v1/tokens', { label: 'crossing', role: 'admin', expires_in_days: 1 })
  const person = { name: 'token:crossing', role: 'admin', via: 'token' } as const
  const proven = { person, token: body.id, expiresAt: new Date(Date.now() + 3_600_000) }
  const { id: earlier } = await beginSession(database, proven, { adminToken, earlier: undefined })
  let revoking: Promise<void> | undefined
  const crossed = disturbed(async (sql) => {
    // The second statement of the login: the revocation comes between the two.
    if (revoking === undefined && asked.length > 0) {
      revoking = revokeToken(database, body.id, 'admin')
      await Promise.race([revoking, waiting(1)])
    }
    asked.push(sql)
  })
  const asked: string[] = []
  const login = beginSession(crossed, proven, { adminToken, earlier })
  const outcomes = await Promise.allSettled([login, login.catch(() => undefined).then(async () => await revoking)])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
})

test('a request that comes while the server starts is answered, and not left hanging', async () => {
  await using empty = await createDatabase()
  {
    await using first = openDatabase(empty.url, () => undefined)
    const { migrate } = await import('../src/store/migrate.ts')
    await migrate(first)
  }
  const client = await empty.client()
  await client.query('begin')
  await client.query('select pg_advisory_xact_lock($1)', [FIRST_TOKEN_LOCK])
  const port = await freePort()
  const starting = startControlPlane({
    databaseUrl: empty.url,
    signingKey: await exportJWK((await generateKeyPair('EdDSA', { extractable: true })).privateKey),
    lease: { leaseMs: 90_000, graceMs: 30_000 },
    host: '127.0.0.1',
    port,
    log: () => undefined,
  })
  await vi.waitFor(async () => await isListening(port), { timeout: CALL_TIMEOUT_MS })
  const early = fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(5000) })
  early.catch(() => undefined)
  await setTimeout(500)
  await client.query('rollback')
  await using running = await starting
  expect(running.firstToken).toBeDefined()
  expect((await early).status).toBe(200)
})

async function isListening(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
}

test('T4: a forged JWT is nobody’s whatever algorithm it names, and no fault of ours', async () => {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: 'admin-app', aud: 'sync', sub: 'eve', iat: now, exp: now + 60 }
  const statuses = []
  for (const alg of ['ES256', 'ES384', 'EdDSA', 'HS256', 'none']) {
    const token = `${part({ alg, typ: 'multiboard-sync-person+jwt' })}.${part(claims)}.${part('x')}`
    statuses.push([alg, (await here.person('GET', '/v1/me', undefined, { authorization: `Bearer ${token}` })).status])
  }
  expect(statuses).toEqual(statuses.map(([alg]) => [alg, 401]))
})

test('what a query holds is refused as such, whatever PostgreSQL would say of it', async () => {
  const year0 = '0000-01-01T00:00:00.000Z'
  const paths = [
    '/v1/audit?object=%00',
    '/v1/audit?object=a%00b',
    `/v1/jobs?cursor=${cursorOf(year0, 'j000000000000')}`,
    `/v1/archives?cursor=${cursorOf(year0, '01jd0000000000000000000000')}`,
    `/v1/tokens?cursor=${cursorOf(year0, '0123456789abcdef')}`,
    `/v1/jobs?cursor=${cursorOf('2026-01-01T00:00:00.0000000000000000000000001Z', 'j000000000000')}`,
    `/v1/jobs?cursor=${cursorOf('2026-01-01T00:00:00Z', '\0')}`,
    '/v1/jobs?cursor=%E0%A4%A',
    '/v1/audit/verify?n=1e400&hash=0',
    '/v1/jobs/j000000000000/events?after=%00',
  ]
  const broken = []
  for (const path of paths) {
    const { status } = await here.person('GET', path)
    if (status >= 500) broken.push(path)
  }
  expect(broken).toEqual([])
})

test('no way to write a path or method goes around proof and role', async () => {
  const { body } = await here.person('POST', '/v1/tokens', { label: 'looker', role: 'viewer', expires_in_days: 1 })
  const { token } = body as unknown as { token: string }
  const got = []
  for (const path of ['/v1/tokens', '/v1/audit', '/v1/audit/verify']) {
    const last = path.slice(4)
    const spellings = [
      path,
      `${path}/`,
      `/${path}`,
      `/v1/${last}`,
      path.replace('t', '%74'),
      path.replace('a', '%61'),
      `/v1/./${last}`,
      `/v1/x/../${last}`,
      `/V1/${last}`,
      `${path}%00`,
      `${path}%0a`,
      `${path};x`,
      `${path}%2f`,
      `/v1%2f${last}`,
      `${path}?ticket=x`,
      `${path}#x`,
      `${path}%3f`,
      `${path}%253f`,
    ]
    for (const spelling of spellings) {
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'QUERY']) {
        for (const authorization of ['', `Bearer ${token}`]) {
          const answer = await raw(method, spelling, authorization)
          const isHarmless = answer.status >= 400 && answer.status < 500
          const isProblem = method === 'HEAD' || answer.type === 'application/problem+json'
          if (!isHarmless || !isProblem) got.push([method, spelling, authorization === '', answer.status, answer.type])
        }
      }
    }
  }
  expect(got).toEqual([])
})

async function raw(
  method: string,
  path: string,
  authorization: string,
  host?: string,
): Promise<{ status: number; type: string }> {
  const { hostname, port } = new URL(here.control.url)
  return await new Promise((resolve, reject) => {
    const headers = {
      ...(authorization ? { authorization } : {}),
      'content-type': 'application/json',
      ...(host ? { host } : {}),
    }
    const sent = httpRequest({ method, path, hostname, port, headers, timeout: CALL_TIMEOUT_MS }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, type: answer.headers['content-type'] ?? '' }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

test('T21: fifty mixed calls at once lose no entry of the audit, and none of them fails', async () => {
  const failedBefore = here.logged.length
  const agents = await Promise.all(['m1', 'm2', 'm3'].map(async (id) => await here.registerAgent(id)))
  const { body } = await here.person('POST', '/v1/tokens', { label: 'mixed', role: 'admin', expires_in_days: 1 })
  const { token } = body as unknown as { token: string }
  const sync = { kind: 'sync', source: 'production', target: 'staging' }
  const calls: (() => Promise<unknown>)[] = Array.from({ length: 10 }, (_, n) => [
    async () => {
      const asked = await here.person('POST', '/v1/jobs', sync, { 'idempotency-key': `k${n % 3}` })
      return await here.person('POST', `/v1/jobs/${asked.body.id}/cancel`)
    },
    async () => await here.person('POST', '/v1/enrollments', { agent: `m${(n % 3) + 1}` }),
    async () => await agents[n % 3]?.poll(),
    async () => await here.person('POST', '/v1/tokens', { label: `t${n}`, role: 'viewer', expires_in_days: 1 }),
    async () => await here.person('POST', '/v1/session', { token }),
    async () => await here.person('POST', '/v1/sessions/revoke', { subject: 'token:mixed' }),
  ]).flat()
  const answers = (await Promise.all(calls.map(async (call) => await call()))) as (Answer | undefined)[]
  expect(answers.filter((answer) => (answer?.status ?? 200) >= 500)).toEqual([])
  const verdict = (await here.person('GET', '/v1/audit/verify')).body as unknown as { ok: boolean }
  expect(verdict).toMatchObject({ ok: true })
  expect(here.logged.slice(failedBefore)).toEqual([])
})

test('a job that failed or was canceled before it began is no start: what its agent would do again is not refused', async () => {
  const agent = await here.registerAgent('seldom', {
    ...policyOf(['quiet']),
    routes: [{ from: 'production', to: 'quiet', max_jobs_per_day: 1 }],
  } as never)
  const sync = { kind: 'sync', source: 'production', target: 'quiet', agent: 'seldom' }
  for (const outcome of ['failed', 'canceled'] as const) {
    await here.ask(sync)
    const order = await agent.begin()
    await agent.report(order, [], { phase: 'preflight' })
    await agent.complete(order, { outcome, target_state: 'untouched' })
    expect(await here.person('POST', '/v1/policy/preview', sync), outcome).toMatchObject({
      body: { agents: [{ agent: 'seldom', allowed: true }] },
    })
  }
  await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, [], { phase: 'exporting' })
  await agent.complete(order, { outcome: 'failed', target_state: 'untouched' })
  expect(await here.person('POST', '/v1/jobs', sync)).toMatchObject({ body: { code: 'too-many-jobs' } })
})

test('a request that no app can be asked for is answered with a problem as well', async () => {
  const broken = []
  for (const [method, path, host] of [
    ['GET', '/v1/jobs', 'a b'],
    ['GET', '/v1/jobs', 'x@y'],
    ['GET', '/v1/jobs', 'evil:99999'],
    ['OPTIONS', '*', 'localhost'],
  ] as const) {
    const { status, type } = await raw(method, path, '', host)
    if (status < 400 || status >= 500 || type !== 'application/problem+json') broken.push([path, host, status, type])
  }
  expect(broken).toEqual([])
})

test('T15: an error that nobody foresaw is logged by the pattern of its path, too', async () => {
  const client = await here.database.client()
  await client.query('alter table multiboard.rate_limits rename to away')
  const secret = `mbse_${'s'.repeat(22)}`
  const { status } = await raw('POST', `/v1/tokens/${secret}`, '')
  await client.query('alter table multiboard.away rename to rate_limits')
  expect(status).toBe(500)
  expect(here.logged.at(-1)).toContain('request-failed')
  expect(JSON.stringify(here.logged)).not.toContain(secret)
})
