import { newEnrollmentCode, proveKey } from '@multiboard-sync/shared/agent-key'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey } from 'jose'
import { expect, test } from 'vitest'
import { issuersSchema } from '../src/people/issuer.ts'
import { adminToken, archiveOf, eventsOf, post, startSurroundings, type Surroundings } from './surroundings.ts'

/**
 * Whoever gets a copy of the control plane's database, or of its log, gets in nowhere. Every secret that the control
 * plane ever holds is used here, everything is written that it writes, and then all of it is searched.
 */

const json = { 'content-type': 'application/json' }

test('T11: nothing in the database or the log of the control plane opens anything', async () => {
  const secrets = new Map<string, string>()
  const keep = (what: string, secret: string | undefined): string => {
    if (!secret || secret.length < 16) throw new Error(`${what} is no secret worth looking for`)
    secrets.set(what, secret)
    return secret
  }
  keep('the admin token', adminToken)
  const signingKey = await exportJWK((await generateKeyPair('EdDSA', { extractable: true })).privateKey)
  keep('the signing key', signingKey.d)
  const issuer = await generateKeyPair('EdDSA', { extractable: true })
  const issuers = issuersSchema.parse([
    {
      issuer: 'https://admin.example.com',
      audience: 'sync',
      public_jwk: await exportJWK(issuer.publicKey),
      algorithms: ['EdDSA'],
      default_role: 'operator',
    },
  ])
  await using here = await startSurroundings({ signingKey, issuers })
  keep('the database URL', here.database.url)
  const stream = await fill(here, keep, issuer.privateKey)

  const found: string[] = []
  const places = new Map([['the log', [...here.logged, ...here.requests].join('\n')], ...(await dump(here))])
  await stream.body?.cancel()
  // The search itself is tried: what must be there is found, also as bytes.
  expect(formsOf('nightly').some((form) => places.get('multiboard.api_tokens')?.includes(form))).toBe(true)
  expect(places.get('multiboard.audit')).toContain('token.made')
  for (const [place, text] of places) {
    expect(text.length, `${place} is empty: nothing was looked through`).toBeGreaterThan(0)
    for (const [what, secret] of secrets) {
      if (formsOf(secret).some((form) => text.includes(form))) found.push(`${what} is in ${place}`)
    }
  }
  expect(found).toEqual([])
  expect([...secrets.keys()].toSorted()).toEqual([...everything].toSorted())
})

const everything = [
  'a JWT of a person',
  'an API token',
  'an API token made under an idempotency key',
  'an enrollment code',
  'a request of an agent',
  'a session',
  'a session of the admin token',
  'a stream ticket',
  'a wrong token',
  'the admin token',
  'the database URL',
  'the key of an agent',
  'the signing key',
]

type Keep = (what: string, secret: string | undefined) => string

/** Uses everything that is secret, so that whatever is kept of it is kept. Answers a stream that is still open. */
async function fill(here: Surroundings, keep: Keep, issuerKey: CryptoKey): Promise<Response> {
  const makeToken = async (what: string, headers: Record<string, string> = {}) => {
    const { body, status } = await here.person('POST', '/v1/tokens', nightly, headers)
    expect(status).toBe(201)
    return keep(what, (body as unknown as { token: string }).token)
  }
  const token = await makeToken('an API token')
  await makeToken('an API token made under an idempotency key', { 'idempotency-key': 'once' })
  expect(await here.person('POST', '/v1/tokens', nightly, { 'idempotency-key': 'once' })).toMatchObject({ status: 409 })
  const jwt = await new SignJWT()
    .setProtectedHeader({ alg: 'EdDSA', typ: 'multiboard-sync-person+jwt' })
    .setIssuer('https://admin.example.com')
    .setAudience('sync')
    .setSubject('ada')
    .setIssuedAt()
    .setExpirationTime('1 minute')
    .sign(issuerKey)
  keep('a JWT of a person', jwt.split('.')[2])
  const wrong = keep('a wrong token', `mbs_0123456789abcdef_${'wrong'.repeat(9).slice(0, 43)}`)
  const statuses = []
  for (const bearer of [token, jwt, wrong]) {
    statuses.push((await here.person('GET', '/v1/me', undefined, { authorization: `Bearer ${bearer}` })).status)
  }
  expect(statuses).toEqual([200, 200, 401])
  const logIn = async (what: string, bearer: string) => {
    const { headers } = await here.person('POST', '/v1/session', { token: bearer }, json)
    keep(what, /^[^=]+=([\w-]{43});/.exec(headers.get('set-cookie') ?? '')?.[1])
  }
  await logIn('a session', token)
  await logIn('a session of the admin token', adminToken)

  const pair = await generateKeyPair('EdDSA', { extractable: true })
  keep('the key of an agent', (await exportJWK(pair.privateKey)).d)
  const invited = await here.person('POST', '/v1/enrollments', { agent: 'new' })
  const { code } = invited.body as unknown as { code: string }
  keep('an enrollment code', code)
  const proof = await proveKey({ code, origin: here.control.url }, pair.privateKey)
  const body = JSON.stringify({ code, public_jwk: await exportJWK(pair.publicKey), proof })
  expect((await post(`${here.control.url}/v1/enroll`, body, '')).status).toBe(200)
  const guess = JSON.stringify({ code: newEnrollmentCode(), public_jwk: await exportJWK(pair.publicKey), proof })
  expect((await post(`${here.control.url}/v1/enroll`, guess, '')).status).toBe(403)

  const agent = await here.registerAgent('vps')
  const { id } = await here.ask({ kind: 'export', source: 'production', agent: 'vps' }, { 'idempotency-key': 'job' })
  const { order = '' } = await agent.poll()
  const claims = JSON.parse(Buffer.from(order.split('.')[1] ?? '', 'base64url').toString()) as Parameters<
    typeof agent.accept
  >[0]
  expect((await agent.accept(claims)).status).toBe(200)
  expect((await agent.report(claims, eventsOf(1, 2))).status).toBe(200)
  const archive = archiveOf('20261122T080312Z-production-bbbb')
  expect((await agent.call('/v1/agent/archives', { archives: [archive] })).status).toBe(200)
  const ticket = await here.person('POST', `/v1/jobs/${id}/stream-ticket`)
  const { url } = ticket.body as unknown as { url: string }
  keep('a stream ticket', new URL(url, here.control.url).searchParams.get('ticket')?.split('.')[2])
  const { signature } = await signedRequest(agent.id, agent.key, here.control.url)
  keep('a request of an agent', signature)
  await here.person('POST', '/v1/jobs', '{"not json', json)
  const headers = { accept: 'text/event-stream' }
  const stream = await fetch(new URL(url, here.control.url), { headers, signal: AbortSignal.timeout(20_000) })
  expect(stream.status).toBe(200)
  return stream
}

const nightly = { label: 'nightly', role: 'operator', expires_in_days: 1 }

async function signedRequest(id: string, key: CryptoKey, url: string): Promise<{ signature: string }> {
  const body = '{}'
  const path = '/v1/agent/poll'
  const authorization = await signRequest({ method: 'POST', path, body, origin: url }, id, key)
  await post(`${url}${path}`, body, authorization)
  return { signature: authorization.split('.')[2] ?? '' }
}

/** Every table of the database as text, by name, with what its rows hold; bytea as hex. */
async function dump(here: Surroundings): Promise<[string, string][]> {
  const client = await here.database.client()
  const { rows } = await client.query<{ name: string }>(`
    select format('%I.%I', table_schema, table_name) as name from information_schema.tables
    where table_schema not in ('pg_catalog', 'information_schema') order by 1
  `)
  const dumped: [string, string][] = []
  for (const { name } of rows) {
    const all = await client.query<{ row: string }>(`select t::text as row from ${name} t`)
    dumped.push([name, all.rows.map(({ row }) => row).join('\n')])
  }
  return dumped
}

/** How a secret can look in a dump: as it is, as its bytes, and as the bytes that it writes in base64. */
function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const decoded = Buffer.from(secret, 'base64url')
  const written = [bytes.toString('hex'), bytes.toString('base64url'), bytes.toString('base64').replaceAll('=', '')]
  return [secret, ...written, ...(decoded.length >= 16 ? [decoded.toString('hex'), decoded.toString('base64')] : [])]
}
