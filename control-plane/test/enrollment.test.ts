import {
  enrollmentReplySchema,
  enrollReplySchema,
  newEnrollmentCode,
  proveKey,
  type ProofPurpose,
} from '@multiboard-sync/shared/agent-key'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type CryptoKey, type JWK } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pollBody, policyOf, post, startSurroundings, type Answer, type Surroundings } from './surroundings.ts'

/* How an agent's key becomes known, changes, and stops to count. */

let here: Surroundings
beforeAll(async () => {
  here = await startSurroundings()
})
afterAll(async () => await here[Symbol.asyncDispose]())

interface Pair {
  key: CryptoKey
  jwk: JWK
  kid: string
}

async function newPair(): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { key: privateKey, jwk, kid: await calculateJwkThumbprint(jwk) }
}

async function newCode(agent: string): Promise<string> {
  const { status, body } = await here.person('POST', '/v1/enrollments', { agent })
  expect(status).toBe(201)
  return enrollmentReplySchema.parse(body).code
}

async function enroll(code: string, pair: Pair, over: Partial<ProofPurpose> = {}): Promise<Answer> {
  const proof = await proveKey({ code, origin: here.control.url, ...over }, pair.key)
  return await send(code, pair.jwk, proof)
}

async function send(code: string, jwk: JWK, proof: string): Promise<Answer> {
  return await post(`${here.control.url}/v1/enroll`, JSON.stringify({ code, public_jwk: jwk, proof }), '')
}

async function call(agent: string, { key }: Pair, path: string, body: unknown): Promise<Answer> {
  const text = JSON.stringify(body)
  const facts = { method: 'POST', path, body: text, origin: here.control.url }
  return await post(`${here.control.url}${path}`, text, await signRequest(facts, agent, key))
}

const poll = async (agent: string, pair: Pair): Promise<Answer> =>
  await call(agent, pair, '/v1/agent/poll', pollBody(policyOf()))

async function rotate(agent: string, signer: Pair, next: Pair, of = agent): Promise<Answer> {
  const proof = await proveKey({ agent: of, origin: here.control.url }, next.key)
  return await call(agent, signer, '/v1/agent/keys', { public_jwk: next.jwk, proof })
}

interface AgentView {
  id: string
  state: string
  alive: boolean
  key_thumbprint: string
  previous_key_until: string | null
  clock_skew_ms: number | null
  trusts_signing_key: boolean | null
}

async function view(agent: string): Promise<AgentView | undefined> {
  const { body } = await here.person('GET', '/v1/agents')
  return (body as unknown as { agents: AgentView[] }).agents.find(({ id }) => id === agent)
}

async function rows(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = await here.database.client()
  const found = await client.query<Record<string, unknown>>(sql, values)
  await client.end()
  return found.rows
}

const audited = async (agent: string): Promise<unknown[]> =>
  (await rows('select action from multiboard.audit where object = $1 order by n', [`agent:${agent}`])).map(
    ({ action }) => action,
  )

test('T24: of 50 keys that come with one code at once exactly one gets in', async () => {
  const code = await newCode('raced')
  const pairs = await Promise.all(Array.from({ length: 50 }, newPair))
  const answers = await Promise.all(pairs.map(async (pair) => await enroll(code, pair)))
  const winners = pairs.filter((_, index) => answers[index]?.status === 200)
  expect(winners).toHaveLength(1)
  const losers = answers.filter(({ status }) => status !== 200)
  expect(new Set(losers.map(({ status, body }) => `${status} ${body.code}`))).toEqual(
    new Set(['403 enrollment-refused']),
  )
  expect((await view('raced'))?.key_thumbprint).toBe(winners[0]?.kid)
  const statuses = await Promise.all(pairs.slice(0, 10).map(async (pair) => (await poll('raced', pair)).status))
  expect(statuses.filter((status) => status === 200).length).toBeLessThanOrEqual(1)
  expect(await audited('raced')).toEqual(['agent.enrollment-made', 'agent.enrolled'])
})

test('T24: one key that comes 50 times with its code is let in once, and is told so each time', async () => {
  const [code, pair] = [await newCode('again'), await newPair()]
  const answers = await Promise.all(Array.from({ length: 50 }, async () => await enroll(code, pair)))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(enrollReplySchema.parse(answers[7]?.body)).toMatchObject({ agent: 'again', signing_kid: here.control.kid })
  expect(await audited('again')).toEqual(['agent.enrollment-made', 'agent.enrolled'])
  expect((await poll('again', pair)).status).toBe(200)
})

test('T24: a code that was guessed, is too old, was replaced or belongs to a revoked agent lets nobody in', async () => {
  const pair = await newPair()
  const guessed = newEnrollmentCode()
  const old = await newCode('late')
  await rows(`update multiboard.enrollments set expires_at = now() where agent = 'late'`)
  const replaced = await newCode('twice')
  await newCode('twice')
  const registered = await here.registerAgent('gone')
  const revoked = await newCode('gone')
  expect((await here.person('POST', '/v1/agents/gone/revoke')).status).toBe(200)
  const answers = await Promise.all([guessed, old, replaced, revoked].map(async (code) => await enroll(code, pair)))
  // Word for word the same: nobody learns which codes there were.
  const { instance: _, ...first } = (answers[0]?.body ?? {}) as unknown as Record<string, unknown>
  for (const { status, body } of answers) expect({ status, body }).toMatchObject({ status: 403, body: first })
  expect(await view('late')).toBeUndefined()
  expect((await registered.call('/v1/agent/archives', { archives: [] })).body.code).toBe('agent-revoked')
})

test('T24: a code lives for ten minutes, has 128 bits, and is nowhere in the database', async () => {
  const key = { 'idempotency-key': 'a-key-of-this-test' }
  const { body } = await here.person('POST', '/v1/enrollments', { agent: 'hidden' }, key)
  // A repeat makes no second code, and the first is not shown again.
  const repeated = await here.person('POST', '/v1/enrollments', { agent: 'hidden' }, key)
  expect([repeated.status, repeated.body.code]).toEqual([409, 'conflict'])
  const { code, expires_at } = enrollmentReplySchema.parse(body)
  expect(Buffer.from(code.replace('mbse_', ''), 'base64url')).toHaveLength(16)
  expect(Date.parse(expires_at) - Date.now()).toBeLessThanOrEqual(600_000)
  expect(Date.parse(expires_at) - Date.now()).toBeGreaterThan(590_000)
  const dump = JSON.stringify([
    await rows('select * from multiboard.enrollments'),
    await rows('select * from multiboard.audit'),
    await rows('select * from multiboard.idempotency_keys'),
  ])
  expect(dump).toContain('hidden')
  expect(dump).not.toContain(code)
  expect(here.logged.join('\n')).not.toContain(code)
})

test('T24: a key without the proof that its owner has the private half is refused, and the code stays good', async () => {
  const [code, pair, thief] = [await newCode('proven'), await newPair(), await newPair()]
  const origin = here.control.url
  const wrong = await Promise.all([
    send(code, pair.jwk, await proveKey({ code, origin }, thief.key)),
    send(code, pair.jwk, await proveKey({ code: newEnrollmentCode(), origin }, pair.key)),
    send(code, pair.jwk, await proveKey({ code, origin: 'https://elsewhere.example' }, pair.key)),
    send(code, pair.jwk, await proveKey({ agent: 'proven', origin }, pair.key)),
    send(code, pair.jwk, 'a.b.c'),
  ])
  for (const { status, body } of wrong) {
    expect({ status, code: body.code }).toEqual({ status: 403, code: 'enrollment-refused' })
  }
  // A request's signature is no proof, and a proof is no request's signature.
  const facts = { method: 'POST', path: '/v1/enroll', body: '', origin }
  const signed = await signRequest(facts, 'proven', pair.key)
  expect((await send(code, pair.jwk, signed.replace('MBS-JWS ', ''))).body.code).toBe('enrollment-refused')
  const proof = await proveKey({ code, origin }, pair.key)
  expect((await send(code, pair.jwk, proof)).status).toBe(200)
  expect((await post(`${origin}/v1/agent/poll`, '{}', `MBS-JWS ${proof}`)).status).toBe(401)
})

test('a key that is another agent’s is refused, and the code stays good', async () => {
  const [mine, code] = [await newPair(), await newCode('second')]
  expect((await enroll(await newCode('first'), mine)).status).toBe(200)
  expect((await enroll(code, mine)).body.code).toBe('conflict')
  expect((await enroll(code, await newPair())).status).toBe(200)
})

test('what people may not do with agents, nobody else may: no token, no code', async () => {
  const headers = { authorization: '' }
  expect((await here.person('POST', '/v1/enrollments', { agent: 'x' }, headers)).status).toBe(401)
  expect((await here.person('POST', '/v1/agents/vps/revoke', undefined, headers)).status).toBe(401)
  expect((await here.person('POST', '/v1/agents/nobody/revoke')).status).toBe(404)
  expect((await here.person('POST', '/v1/enrollments', { agent: 'Not A Name' })).status).toBe(422)
})

test('a rotated key is taken at once, the one before it for a day, and only the current one brings the next', async () => {
  const [first, second, third] = [await newPair(), await newPair(), await newPair()]
  await enroll(await newCode('turning'), first)
  const answer = await rotate('turning', first, second)
  expect(answer).toMatchObject({ status: 200, body: { kid: second.kid } })
  // The answer was lost: asked again by either key it is the same.
  expect((await rotate('turning', first, second)).body).toEqual(answer.body)
  expect((await rotate('turning', second, second)).body).toEqual(answer.body)
  for (const pair of [first, second]) expect((await poll('turning', pair)).status).toBe(200)
  expect(await view('turning')).toMatchObject({ key_thumbprint: second.kid, previous_key_until: expect.any(String) })
  expect((await rotate('turning', first, third)).body.code).toBe('conflict')
  expect((await rotate('turning', second, first)).body.code).toBe('conflict')
  expect(await audited('turning')).toEqual(['agent.enrollment-made', 'agent.enrolled', 'agent.key-rotated'])

  await rows(`update multiboard.agents set previous_until = now() - interval '1 second' where id = 'turning'`)
  expect((await poll('turning', first)).status).toBe(401)
  expect((await poll('turning', second)).status).toBe(200)
  expect((await rotate('turning', second, third)).status).toBe(200)
  expect((await poll('turning', third)).status).toBe(200)
})

test('a rotation needs the proof of the new key, for this agent, and a key of nobody else', async () => {
  const [mine, others, next] = [await newPair(), await newPair(), await newPair()]
  await enroll(await newCode('mine'), mine)
  await enroll(await newCode('others'), others)
  expect((await rotate('mine', mine, next, 'others')).body.code).toBe('enrollment-refused')
  const proof = await proveKey({ agent: 'mine', origin: here.control.url }, mine.key)
  const stolen = await call('mine', mine, '/v1/agent/keys', { public_jwk: next.jwk, proof })
  expect(stolen.body.code).toBe('enrollment-refused')
  expect((await rotate('mine', mine, others)).body.code).toBe('conflict')
  expect((await view('mine'))?.key_thumbprint).toBe(mine.kid)
})

test('T23: a revoked agent is refused at its next call, whatever it calls and with whichever of its keys', async () => {
  const [first, second] = [await newPair(), await newPair()]
  await enroll(await newCode('stolen'), first)
  await rotate('stolen', first, second)
  expect((await poll('stolen', second)).status).toBe(200)
  await here.ask({ kind: 'export', source: 'production', agent: 'stolen' })
  expect((await here.person('POST', '/v1/agents/stolen/revoke')).status).toBe(200)
  const paths = ['poll', 'archives', 'keys', 'jobs/j000000000000/accept', 'jobs/j000000000000/report']
  for (const path of [...paths, 'jobs/j000000000000/complete']) {
    for (const pair of [first, second]) {
      const { status, body } = await call('stolen', pair, `/v1/agent/${path}`, {})
      expect({ path, status, code: body.code }).toEqual({ path, status: 403, code: 'agent-revoked' })
    }
  }
  // Who cannot sign for it does not learn that it was.
  expect((await poll('stolen', await newPair())).status).toBe(401)
  expect((await here.person('POST', '/v1/agents/stolen/revoke')).status).toBe(200)
  expect(await audited('stolen')).toEqual([
    'agent.enrollment-made',
    'agent.enrolled',
    'agent.key-rotated',
    'agent.revoked',
  ])
  expect(await view('stolen')).toMatchObject({ state: 'revoked', alive: false })
  const registered = await here.person('POST', '/v1/agents', { id: 'stolen', public_jwk: second.jwk })
  expect(registered.body.code).toBe('conflict')
})

test('T23: a revoked agent gets no job, and is back with a new code and the same or another key', async () => {
  const [first, second] = [await newPair(), await newPair()]
  await enroll(await newCode('mistaken'), first)
  await poll('mistaken', first)
  await here.person('POST', '/v1/agents/mistaken/revoke')
  const asked = await here.person('POST', '/v1/jobs', { kind: 'export', source: 'production', agent: 'mistaken' })
  expect(asked).toMatchObject({ status: 403, body: { code: 'agent-revoked' } })
  expect((await enroll(await newCode('mistaken'), first)).status).toBe(200)
  expect((await poll('mistaken', first)).status).toBe(200)
  await here.person('POST', '/v1/agents/mistaken/revoke')
  expect((await enroll(await newCode('mistaken'), second)).status).toBe(200)
  expect((await poll('mistaken', second)).status).toBe(200)
  expect((await poll('mistaken', first)).status).toBe(401)
})

test('the list of agents says who is there, whose clock is wrong, and who would not obey us', async () => {
  const [near, far] = [await newPair(), await newPair()]
  await enroll(await newCode('near'), near)
  await enroll(await newCode('far'), far)
  expect(await view('far')).toMatchObject({ alive: false, clock_skew_ms: null, trusts_signing_key: null })
  await call('near', near, '/v1/agent/poll', { ...pollBody(policyOf()), trusted_kids: [here.control.kid] })
  await poll('far', far)
  const { clock_skew_ms, ...seen } = (await view('near')) ?? {}
  expect(seen).toMatchObject({ state: 'active', alive: true, trusts_signing_key: true })
  expect(Math.abs(clock_skew_ms ?? Number.NaN)).toBeLessThan(5000)
  expect(await view('far')).toMatchObject({ alive: true, trusts_signing_key: false })
  await rows(`update multiboard.agents set last_seen_at = now() - interval '61 seconds' where id = 'far'`)
  expect(await view('far')).toMatchObject({ alive: false })
})
