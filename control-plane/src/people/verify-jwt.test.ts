import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey, type JWK } from 'jose'
import { beforeAll, expect, test } from 'vitest'
import { issuersSchema, type Issuer } from './issuer.ts'
import type { Person } from './person.ts'
import { makeJwtVerifier } from './verify-jwt.ts'

const audience = 'https://sync.example.com'
const app = 'https://admin.example.com'

let key: CryptoKey
let publicJwk: JWK
beforeAll(async () => {
  const pair = await generateKeyPair('EdDSA', { extractable: true })
  key = pair.privateKey
  publicJwk = await exportJWK(pair.publicKey)
})

const issuersOf = (...over: object[]): readonly Issuer[] =>
  issuersSchema.parse(
    over.map((one) => ({ issuer: app, name: 'app', audience, algorithms: ['EdDSA'], role_claim: 'role', ...one })),
  )

const now = () => Math.floor(Date.now() / 1000)

interface Over {
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  by?: CryptoKey
}

async function tokenOf({ claims = {}, header = {}, by = key }: Over = {}): Promise<string> {
  const good = { iss: app, aud: audience, sub: 'ada', role: 'operator', iat: now(), exp: now() + 60 }
  return await new SignJWT({ ...good, ...claims })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'multiboard-sync-person+jwt', ...header })
    .sign(by)
}

async function answerTo(token: string, issuers = issuersOf({ public_jwk: publicJwk })): Promise<Person | string> {
  try {
    const { expiresAt: _, ...person } = await makeJwtVerifier(issuers)(token)
    return person
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

test('a JWT of an issuer we know is its subject, named after the issuer, with the role it says', async () => {
  expect(await answerTo(await tokenOf())).toEqual({ name: 'app:ada', role: 'operator', via: 'jwt' })
  expect(await answerTo(await tokenOf({ header: { kid: 'any' } }))).toMatchObject({ name: 'app:ada' })
})

test('T4: a JWT with another issuer, audience, type, algorithm, key or time is nobody’s', async () => {
  const other = await generateKeyPair('EdDSA')
  const wrong: Record<string, Over> = {
    issuer: { claims: { iss: 'https://evil.example.com' } },
    'no issuer': { claims: { iss: undefined } },
    audience: { claims: { aud: 'https://other.example.com' } },
    'a list of audiences that holds ours': { claims: { aud: [audience, 'https://other.example.com'] } },
    'no type': { header: { typ: undefined } },
    'the type of an order': { header: { typ: 'multiboard-sync-order+jwt' } },
    'the type of a request': { header: { typ: 'multiboard-sync-request+jwt' } },
    'a plain type': { header: { typ: 'JWT' } },
    'another key': { by: other.privateKey },
    'a key that it brings itself': { by: other.privateKey, header: { jwk: await exportJWK(other.publicKey) } },
    expired: { claims: { iat: now() - 200, exp: now() - 31 } },
    'made long ago, good for long': { claims: { iat: now() - 331, exp: now() + 3600 } },
    'made in the future': { claims: { iat: now() + 60 } },
    'not yet good': { claims: { nbf: now() + 60 } },
    'no iat': { claims: { iat: undefined } },
    'no exp': { claims: { exp: undefined } },
    'no subject': { claims: { sub: undefined } },
    'an empty subject': { claims: { sub: '' } },
    'a subject with a line break': { claims: { sub: 'ada\nadmin' } },
    'a subject with U+0000': { claims: { sub: 'ada\0' } },
    'a subject longer than names may be': { claims: { sub: 'a'.repeat(121) } },
  }
  for (const [what, over] of Object.entries(wrong))
    expect(await answerTo(await tokenOf(over)), what).toBe('unauthorized')
  const [header, payload] = (await tokenOf()).split('.')
  const unsigned = new UnsecuredJWT({ role: 'admin' }).setIssuer(app).setAudience(audience).setSubject('x').encode()
  const byPublicKey = await new SignJWT({ role: 'admin' })
    .setProtectedHeader({ alg: 'HS256', typ: 'multiboard-sync-person+jwt' })
    .setIssuer(app)
    .sign(new TextEncoder().encode(publicJwk.x))
  for (const token of [unsigned, byPublicKey, `${header}.${payload}.`, `${header}.${payload}.AAAA`, 'a.b.c', '..']) {
    expect(await answerTo(token)).toBe('unauthorized')
  }
})

test('what a role claim says counts only as the configuration means it, and the highest of many does', async () => {
  const meaning = { 'sync admins': 'admin', staff: 'viewer' }
  const mapped = issuersOf({ public_jwk: publicJwk, role_claim: 'realm.groups', roles: meaning })
  const roleOf = async (claims: Record<string, unknown>, issuers = mapped) => {
    const answer = await answerTo(await tokenOf({ claims }), issuers)
    return typeof answer === 'string' ? answer : answer.role
  }
  expect(await roleOf({ realm: { groups: ['staff', 'sync admins', 'x'] } })).toBe('admin')
  expect(await roleOf({ realm: { groups: 'staff' } })).toBe('viewer')
  for (const groups of [
    'admin',
    ['operator'],
    'constructor',
    ['__proto__'],
    1,
    null,
    { admin: true },
    [['sync admins']],
  ]) {
    expect(await roleOf({ realm: { groups } }), JSON.stringify(groups)).toBe('forbidden')
  }
  expect(await roleOf({ 'realm.groups': 'staff' })).toBe('viewer')
  expect(await roleOf({ realm: 'staff' })).toBe('forbidden')
  const bounded = issuersOf({ public_jwk: publicJwk, role_claim: undefined, default_role: 'operator' })
  expect(await roleOf({ role: 'admin' }, bounded)).toBe('operator')
})

test('each issuer’s keys open that issuer’s doors only', async () => {
  const second = await generateKeyPair('EdDSA', { extractable: true })
  const issuers = issuersOf(
    { public_jwk: publicJwk },
    { issuer: 'https://id.example.com', name: 'id', jwks: { keys: [await exportJWK(second.publicKey)] } },
  )
  const claims = { iss: 'https://id.example.com' }
  expect(await answerTo(await tokenOf({ claims, by: second.privateKey }), issuers)).toMatchObject({ name: 'id:ada' })
  expect(await answerTo(await tokenOf({ claims }), issuers)).toBe('unauthorized')
  expect(await answerTo(await tokenOf({ by: second.privateKey }), issuers)).toBe('unauthorized')
})

test('an issuer that is configured dangerously is refused at the start', async () => {
  const good = { issuer: app, audience, algorithms: ['EdDSA'], role_claim: 'role', public_jwk: publicJwk }
  const { public_jwk: _, ...keyless } = good
  const remote = { ...keyless, jwks_url: 'https://id.example.com/keys' }
  const isTaken = (...issuers: object[]) => issuersSchema.safeParse(issuers).success
  expect(isTaken(good)).toBe(true)
  expect(isTaken(remote)).toBe(true)
  const wrong = {
    'an HMAC': { ...good, algorithms: ['HS256'] },
    none: { ...good, algorithms: ['none'] },
    'no algorithm': { ...good, algorithms: [] },
    'a private key': { ...good, public_jwk: await exportJWK(key) },
    'a shared secret': { ...good, public_jwk: { kty: 'oct', k: 'c2VjcmV0' } },
    'keys over http': { ...remote, jwks_url: 'http://id.example.com/keys' },
    'keys from two places': { ...remote, public_jwk: publicJwk },
    'no keys': keyless,
    'no role': { ...good, role_claim: undefined },
    'a name that tokens have': { ...good, name: 'token' },
    'a setting we do not know': { ...good, adience: 'x' },
  }
  for (const [what, issuer] of Object.entries(wrong)) expect(isTaken(issuer), what).toBe(false)
  expect(isTaken(good, { ...good, name: 'other' })).toBe(false)
})
