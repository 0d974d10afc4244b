import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newEnrollmentCode, proveKey } from '@multiboard-sync/shared/agent-key'
import { ORDER_TYPE, type Order } from '@multiboard-sync/shared/order'
import { policySha256 } from '@multiboard-sync/shared/policy'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import {
  calculateJwkThumbprint,
  CompactSign,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  SignJWT,
  type JWK,
} from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSeenOrders, type SeenOrders } from '../../agent/src/verify/seen-orders.ts'
import { verifyOrder } from '../../agent/src/verify/verify-order.ts'
import { issuersSchema } from '../src/people/issuer.ts'
import { pollBody, policyOf, startSurroundings, type Surroundings } from './surroundings.ts'

/*
 * Five kinds of token, five doors. Order key, agent's key and the people's issuer are one and the same key here, the worst
 * that somebody could set up: what keeps the tokens apart is then only what they say they are, and for whom.
 */

const kinds = ['order', 'request', 'enrolment', 'ticket', 'person'] as const
type Kind = (typeof kinds)[number]

const policy = policyOf()
const JOB = 'j4k7q2m9xw1ab'
let here: Surroundings
let stateDir: string
let seen: SeenOrders
let pair: Awaited<ReturnType<typeof generateKeyPair>>
let kid: string
let body: string
let streamed: string

beforeAll(async () => {
  pair = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const publicJwk = await exportJWK(pair.publicKey)
  kid = await calculateJwkThumbprint(publicJwk)
  const issuers = issuersSchema.parse([
    {
      issuer: 'https://admin.example.com',
      audience: 'sync',
      public_jwk: publicJwk,
      algorithms: ['EdDSA'],
      default_role: 'admin',
    },
  ])
  here = await startSurroundings({ signingKey: await exportJWK(pair.privateKey), issuers })
  const registered = await here.person('POST', '/v1/agents', { id: 'vps1', public_jwk: publicJwk })
  expect(registered.status).toBe(201)
  body = JSON.stringify(pollBody(policy))
  expect((await open('request', await natural('request'))).status).toBe(200)
  streamed = (await here.ask({ kind: 'sync', source: 'production', target: 'staging' })).id
  stateDir = await mkdtemp(join(tmpdir(), 'tokens-'))
  seen = await openSeenOrders(stateDir)
})

afterAll(async () => {
  await seen?.[Symbol.asyncDispose]()
  await here?.[Symbol.asyncDispose]()
  await rm(stateDir, { recursive: true, force: true })
})

function claimsOfOrder(): Order {
  const nowS = Math.floor(Date.now() / 1000)
  return {
    iss: here.control.url,
    aud: 'agent:vps1',
    iat: nowS,
    nbf: nowS,
    exp: nowS + 300,
    jti: crypto.randomUUID(),
    job: { id: JOB, kind: 'export', epoch: 1, fence: 1 },
    requester: 'somebody',
    params: { kind: 'export', source: 'production' },
    policy_sha256: policySha256(policy),
  }
}

/** A door opens once for each code and key. */
interface Enrolment {
  code: string
  jwk: JWK
  key: CryptoKeyOf
}
type CryptoKeyOf = (typeof pair)['privateKey']

async function newEnrolment(): Promise<Enrolment> {
  enrolments += 1
  const made = await here.person('POST', '/v1/enrollments', { agent: `vps-${enrolments}` })
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const { code } = made.body as unknown as { code: string }
  return { code, jwk: await exportJWK(publicKey), key: privateKey }
}
let enrolments = 0

/** A token as it is made in earnest, good for its own door. */
async function natural(kind: Kind, enrolment?: Enrolment): Promise<string> {
  const origin = here.control.url
  switch (kind) {
    case 'order':
      return await signOrder(claimsOfOrder(), pair.privateKey, kid)
    case 'request': {
      const facts = { method: 'POST', path: '/v1/agent/poll', body, origin }
      return (await signRequest(facts, 'vps1', pair.privateKey)).split(' ')[1] ?? ''
    }
    case 'enrolment':
      return await proveKey({ origin, code: enrolment?.code ?? newEnrollmentCode() }, enrolment?.key ?? pair.privateKey)
    case 'ticket': {
      const made = await here.person('POST', `/v1/jobs/${streamed}/stream-ticket`)
      return (made.body as unknown as { ticket: string }).ticket
    }
    case 'person':
      return await new SignJWT()
        .setProtectedHeader({ alg: 'EdDSA', typ: 'multiboard-sync-person+jwt' })
        .setIssuer('https://admin.example.com')
        .setAudience('sync')
        .setSubject('grace@example.com')
        .setIssuedAt()
        .setExpirationTime('60s')
        .sign(pair.privateKey)
  }
}

/** Shows a token at a door. */
async function open(door: Kind, token: string, enrolment?: Enrolment): Promise<{ status: number; code: string }> {
  const url = here.control.url
  const ask = async (method: string, path: string, headers: Record<string, string>, text?: string) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { accept: 'application/json', 'content-type': 'application/json', ...headers },
      ...(text === undefined ? {} : { body: text }),
      signal: AbortSignal.timeout(20_000),
    })
    const { code = '' } = (await response.json()) as { code?: string }
    return { status: response.status, code }
  }
  switch (door) {
    case 'order':
      return await verifyOrder(token, {
        agent: 'vps1',
        issuer: url,
        policy,
        policySha256: policySha256(policy),
        findKey: async (id) => (id === kid ? pair.publicKey : undefined),
        serverDate: new Date(),
        now: () => new Date(),
        seen,
        journaled: async () => undefined,
      }).then(
        () => ({ status: 200, code: '' }),
        ({ code }: { code: string }) => ({ status: 403, code }),
      )
    case 'request':
      return await ask('POST', '/v1/agent/poll', { authorization: `MBS-JWS ${token}` }, body)
    case 'enrolment':
      return await ask(
        'POST',
        '/v1/enroll',
        {},
        JSON.stringify({ code: enrolment?.code, public_jwk: enrolment?.jwk, proof: token }),
      )
    case 'ticket':
      return await ask('GET', `/v1/jobs/${streamed}/events?ticket=${encodeURIComponent(token)}`, {})
    case 'person':
      return await ask('GET', '/v1/jobs', { authorization: `Bearer ${token}` })
  }
}

const REFUSED = /^(unauthorized|enrollment-refused|order-(wrong-type|unknown-key|malformed))$/

/** By door: which token was let in, and what the others were told. */
async function tryAt(door: Kind, make: (kind: Kind, enrolment: Enrolment) => Promise<string>): Promise<string[]> {
  const letIn: string[] = []
  for (const kind of kinds) {
    const enrolment = await newEnrolment()
    const { status, code } = await open(door, await make(kind, enrolment), enrolment)
    if (status < 300) letIn.push(kind)
    else if (!REFUSED.test(code)) letIn.push(`${kind} was answered ${status} ${code}`)
  }
  return letIn
}

test.each(kinds)('T4: of all kinds of token only its own opens the door for %s', async (door) => {
  expect(await tryAt(door, natural)).toEqual([door])
})

test.each(kinds)(
  'T4: at the door for %s a token that says all the right things is refused for its typ',
  async (door) => {
    const types = new Map<Kind, string>()
    for (const kind of kinds) types.set(kind, decodeProtectedHeader(await natural(kind)).typ ?? '')
    expect(new Set(types.values()).size, 'every kind has a typ of its own').toBe(kinds.length)
    expect(types.get('order')).toBe(ORDER_TYPE)
    const made = await tryAt(door, async (kind, enrolment) => {
      // The order's epoch is new: it would be taken.
      const right =
        door === 'order'
          ? { ...claimsOfOrder(), job: { ...claimsOfOrder().job, epoch: 2 } }
          : decodeJwt(await natural(door, enrolment))
      const key = door === 'enrolment' ? enrolment.key : pair.privateKey
      return await new CompactSign(new TextEncoder().encode(JSON.stringify(right)))
        .setProtectedHeader({ alg: 'EdDSA', typ: types.get(kind) ?? '', kid })
        .sign(key)
    })
    expect(made).toEqual([door])
  },
)
