import { exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defaultStreamTimes } from '../src/events/stream-events.ts'
import { openApp } from '../src/open-app.ts'
import { roleFor } from '../src/people/role-for.ts'
import type { Role } from '../src/people/person.ts'
import { startControlPlane } from '../src/start-control-plane.ts'
import { openDatabase, type Database } from '../src/store/open-database.ts'
import { adminToken, startSurroundings, type Answer, type Surroundings } from './surroundings.ts'

let here: Surroundings
beforeAll(async () => void (here = await startSurroundings()))
afterAll(async () => await here[Symbol.asyncDispose]())

interface Made {
  id: string
  token: string
}

async function makeToken(role: Role, label = `a ${role}`): Promise<Made> {
  const answer = await here.person('POST', '/v1/tokens', { label, role, expires_in_days: 30 })
  expect(answer.status).toBe(201)
  return answer.body as unknown as Made
}

async function callWith(token: string, method = 'GET', path = '/v1/me', body?: unknown): Promise<Answer> {
  return await here.person(method, path, body, { authorization: `Bearer ${token}` })
}

async function sql(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = await here.database.client()
  const { rows } = await client.query<Record<string, unknown>>(text, values)
  await client.end()
  return rows
}

const unauthorized = { status: 401, body: { code: 'unauthorized' } }

test('a token is its people’s name and role until it is revoked, and its secret is shown once', async () => {
  const made = await makeToken('operator', 'nightly')
  expect(made.token).toMatch(/^mbs_[0-9a-f]{16}_[\w-]{43}$/)
  expect(await callWith(made.token)).toMatchObject({
    status: 200,
    body: { name: 'token:nightly', role: 'operator', via: 'token' },
  })
  const listed = await here.person('GET', '/v1/tokens')
  expect(listed.body).toMatchObject({ tokens: [{ id: made.id, created_by: 'admin', revoked_at: null }], next: null })
  expect(JSON.stringify(listed.body)).not.toContain(made.token.slice(-20))

  for (const _ of ['once', 'twice']) {
    expect((await here.person('DELETE', `/v1/tokens/${made.id}`)).status).toBe(204)
    expect(await callWith(made.token)).toMatchObject(unauthorized)
  }
  for (const id of ['0123456789abcdef', 'none']) {
    expect((await here.person('DELETE', `/v1/tokens/${id}`)).status).toBe(404)
  }
  const told = await sql("select action, actor from multiboard.audit where object = 'token:' || $1 order by n", [
    made.id,
  ])
  expect(told).toEqual([
    { action: 'token.made', actor: 'admin' },
    { action: 'token.revoked', actor: 'admin' },
  ])
})

test('a token runs out, and none is good for longer than a year', async () => {
  const { id, token } = await makeToken('viewer', 'short')
  await sql("update multiboard.api_tokens set expires_at = now() - interval '1 second' where id = $1", [id])
  expect(await callWith(token)).toMatchObject(unauthorized)
  const asked = { label: 'long', role: 'viewer' }
  for (const body of [asked, ...[0, 366, 1.5, null].map((days) => ({ ...asked, expires_in_days: days }))]) {
    expect(await here.person('POST', '/v1/tokens', body)).toMatchObject({
      status: 422,
      body: { errors: [{ field: 'expires_in_days' }] },
    })
  }
})

test('a token with another secret, another id or another form is nobody’s', async () => {
  const { id, token } = await makeToken('viewer', 'right')
  const other = await makeToken('admin', 'other')
  const secret = token.split('_').slice(2).join('_')
  const flipped = `${token.slice(0, -2)}${token.at(-2) === 'A' ? 'B' : 'A'}${token.at(-1)}`
  const wrong = [
    flipped,
    `mbs_${other.id}_${secret}`,
    `mbs_${id}_`,
    `mbs_${id}`,
    'mbs_',
    `${token}A`,
    token.toUpperCase(),
  ]
  for (const text of wrong) expect(await callWith(text)).toMatchObject(unauthorized)
  expect((await callWith(token)).status).toBe(200)
})

test('the use of a token is noted at most each minute', async () => {
  const { id, token } = await makeToken('viewer', 'counted')
  const read = async () => (await sql('select last_used_at, xmin from multiboard.api_tokens where id = $1', [id]))[0]
  expect(await read()).toMatchObject({ last_used_at: null })
  await callWith(token)
  const first = await read()
  expect(first?.['last_used_at']).toBeInstanceOf(Date)
  await callWith(token)
  expect(await read()).toEqual(first)
  await sql("update multiboard.api_tokens set last_used_at = now() - interval '61 seconds' where id = $1", [id])
  await sql("update multiboard.people_activity set at = '-infinity'")
  await callWith(token)
  expect((await read())?.['xmin']).not.toEqual(first?.['xmin'])
  expect(await sql("select at > now() - interval '1 minute' as here from multiboard.people_activity")).toEqual([
    { here: true },
  ])
  // Somebody who only guesses does not make the agents poll faster.
  await sql("update multiboard.people_activity set at = '-infinity'")
  await callWith(`mbs_${id}_${'A'.repeat(43)}`)
  expect(await sql("select at = '-infinity' as away from multiboard.people_activity")).toEqual([{ away: true }])
})

test('who asks is found by one statement, by token and by cookie alike', async () => {
  const { token } = await makeToken('viewer', 'one statement')
  const login = await here.person('POST', '/v1/session', { token })
  const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? ''
  await using database = openDatabase(here.database.url, (error) => {
    throw error
  })
  const statements: string[] = []
  const counting: Database = {
    ...database,
    query: async (text, values) => {
      statements.push(text)
      return await database.query(text, values)
    },
    transaction: async () => {
      throw new Error('to see who asks needs no transaction')
    },
  }
  const { privateKey } = await generateKeyPair('EdDSA', { extractable: true })
  const { app } = await openApp(
    { adminToken, lease: { leaseMs: 90_000, graceMs: 30_000 }, signingKey: await exportJWK(privateKey) },
    {
      database: counting,
      origin: here.control.url,
      stopping: new AbortController().signal,
      stream: defaultStreamTimes,
      log: () => undefined,
    },
  )
  const proofs = [{ authorization: `Bearer ${token}` }, { authorization: `Bearer ${adminToken}` }, { cookie }]
  for (const headers of proofs as Record<string, string>[]) {
    statements.length = 0
    const response = await app.fetch(new Request(`${here.control.url}/v1/me`, { headers }))
    expect(response.status).toBe(200)
    // The other one counts the call.
    const ofProof = statements.filter((text) => !text.includes('rate_limits'))
    expect({ proof: ofProof.length, all: statements.length }).toEqual({ proof: 1, all: 2 })
  }
})

test('every route of people asks for its role, and for an admin when nobody has thought of it', async () => {
  const tokens = { viewer: '', operator: '', admin: '' }
  for (const role of ['viewer', 'operator', 'admin'] as const) tokens[role] = (await makeToken(role)).token
  // Spelled out, not taken from the table: a mistake there must be seen here.
  const routes: [Role, string, string][] = [
    ['viewer', 'GET', '/v1/me'],
    ['viewer', 'GET', '/v1/jobs'],
    ['viewer', 'GET', '/v1/jobs/j000000000000'],
    ['viewer', 'GET', '/v1/jobs/j000000000000/events'],
    ['viewer', 'GET', '/v1/archives'],
    ['viewer', 'GET', '/v1/archives/none'],
    ['viewer', 'GET', '/v1/agents'],
    ['operator', 'POST', '/v1/jobs'],
    ['operator', 'POST', '/v1/jobs/j000000000000/cancel'],
    ['operator', 'POST', '/v1/jobs/j000000000000/undo'],
    ['viewer', 'POST', '/v1/jobs/j000000000000/stream-ticket'],
    ['viewer', 'POST', '/v1/policy/preview'],
    ['admin', 'POST', '/v1/agents'],
    ['admin', 'POST', '/v1/agents/vps/revoke'],
    ['admin', 'POST', '/v1/enrollments'],
    ['admin', 'POST', '/v1/tokens'],
    ['admin', 'POST', '/v1/sessions/revoke'],
    ['admin', 'GET', '/v1/tokens'],
    ['admin', 'DELETE', '/v1/tokens/none'],
    ['admin', 'GET', '/v1/audit'],
    ['admin', 'GET', '/v1/audit/verify'],
    ['admin', 'DELETE', '/v1/jobs/j000000000000'],
    ['admin', 'PUT', '/v1/anything'],
  ]
  const ranks = ['viewer', 'operator', 'admin'] as const
  for (const [needed, method, path] of routes) {
    for (const role of ranks) {
      const answer = await callWith(tokens[role], method, path, method === 'POST' ? {} : undefined)
      const mayEnter = ranks.indexOf(role) >= ranks.indexOf(needed)
      const got = answer.status === 403 && answer.body.code === 'forbidden' ? 'refused' : 'let in'
      expect([method, path, role, got]).toEqual([method, path, role, mayEnter ? 'let in' : 'refused'])
    }
    expect(await callWith('', method, path), `${method} ${path}`).toMatchObject(unauthorized)
  }
  // Another spelling of a path is not another path.
  expect(await callWith(tokens.operator, 'GET', '/v1/%61udit')).toMatchObject({ status: 403 })
  expect(roleFor('HEAD', '/v1/audit')).toBe('admin')
})

test('at a first start nobody is locked out and nothing is known beforehand: one token, for one admin, once', async () => {
  // Functions make none: there is nobody to print it to.
  await using first = await startSurroundings({ adminToken: undefined }, { start: startControlPlane })
  const token = first.control.firstToken
  if (token === undefined) throw new Error('no first token was made')
  const authorization = `Bearer ${token}`
  expect((await first.person('GET', '/v1/me', undefined, { authorization })).body).toMatchObject({ role: 'admin' })
  // The token that tests and others send by default opens nothing here.
  expect(await first.person('GET', '/v1/me')).toMatchObject(unauthorized)
  expect(here.control.firstToken).toBeUndefined()
  expect(first.logged.join()).not.toContain(token.slice(-20))
})

test('the admin token still opens every door when it is set', async () => {
  expect(await callWith(adminToken)).toMatchObject({ status: 200, body: { name: 'admin', via: 'admin-token' } })
})
