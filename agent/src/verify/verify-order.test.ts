import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CompactSign, calculateJwkThumbprint, exportJWK, generateKeyPair, type CryptoKey } from 'jose'
import { ORDER_TYPE, type Order } from '@multiboard-sync/shared/order'
import { policySchema, policySha256, type Policy } from '@multiboard-sync/shared/policy'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openJournal, readJournaled, type Journal } from '../journal/journal.ts'
import { openSeenOrders, type SeenOrders } from './seen-orders.ts'
import { parseTrustFile, type Trust } from './trust-file.ts'
import { verifyOrder, type OrderContext } from './verify-order.ts'

const NOW = new Date('2026-11-22T12:00:00Z')
const NOW_S = NOW.getTime() / 1000
const ISSUER = 'https://sync.example.com'
const JOB = 'j4k7q2m9xw1ab'
const policy: Policy = policySchema.parse({
  databases: {
    production: { role: 'source', protected: true },
    staging: { role: 'target' },
    vault: { role: 'both', protected: true },
  },
  routes: [{ from: 'production', to: 'staging' }],
})

let stateDir: string
let seen: SeenOrders
let key: CryptoKey
let publicBytes: string
let kid: string
let trust: Trust

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'orders-'))
  seen = await openSeenOrders(stateDir, () => NOW)
  const pair = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  key = pair.privateKey
  const { kty, crv, x } = await exportJWK(pair.publicKey)
  publicBytes = x ?? ''
  kid = await calculateJwkThumbprint({ kty: kty ?? '', crv: crv ?? '', x: publicBytes })
  trust = await trustWith({})
})

afterEach(async () => {
  await seen[Symbol.asyncDispose]()
  await rm(stateDir, { recursive: true })
})

async function trustWith(dates: { not_before?: string; not_after?: string; use?: string }): Promise<Trust> {
  const entry = { kid, use: 'order', jwk: { kty: 'OKP', crv: 'Ed25519', x: publicBytes }, ...dates }
  return await parseTrustFile(JSON.stringify({ keys: [entry] }))
}

function context(changes: Partial<OrderContext> = {}): OrderContext {
  return {
    agent: 'vps1',
    issuer: ISSUER,
    policy,
    policySha256: policySha256(policy),
    findKey: async (id) => await trust.findOrderKey(id, NOW),
    serverDate: NOW,
    now: () => NOW,
    seen,
    journaled: async (job) => await readJournaled(stateDir, job),
    ...changes,
  }
}

function order(changes: object = {}): Order {
  return {
    iss: ISSUER,
    aud: 'agent:vps1',
    iat: NOW_S,
    nbf: NOW_S,
    exp: NOW_S + 300,
    jti: 'jti-00000001',
    job: { id: JOB, kind: 'sync', epoch: 1, fence: 7 },
    requester: 'ops@example.com',
    params: { kind: 'sync', source: 'production', target: 'staging', engine: 'auto' },
    policy_sha256: policySha256(policy),
    ...changes,
  }
}

async function signed(changes: object = {}): Promise<string> {
  return await signOrder(order(changes), key, kid)
}

async function begin(epoch: number): Promise<Journal> {
  const journal = await openJournal(stateDir, JOB)
  await journal.record('accepted', { params: order().params, epoch, fence: 7 })
  return journal
}

async function signedWithHeader(header: object, signer: CryptoKey | Uint8Array = key): Promise<string> {
  return await new CompactSign(new TextEncoder().encode(JSON.stringify(order())))
    .setProtectedHeader({ alg: 'EdDSA', typ: ORDER_TYPE, kid, ...header })
    .sign(signer, { crit: { b64: true, mystery: true } })
}

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('an order', () => {
  it('that is right is accepted and returned as signed', async () => {
    await expect(verifyOrder(await signed(), context())).resolves.toEqual(order())
    expect(seen.has('jti-00000001')).toBe(true)
    expect(seen.newestEpoch(JOB)).toBe(1)
  })

  it('for an export of a source is accepted', async () => {
    const params = { kind: 'export', source: 'production' }
    await verifyOrder(await signed({ params, job: { id: JOB, kind: 'export', epoch: 1, fence: 0 } }), context())
  })
})

describe('an order to undo or to plan', () => {
  const undo = { kind: 'undo', target: 'staging', job: 'j000000000000' }
  const asked = async (params: { kind: string; [name: string]: unknown }): Promise<Order> =>
    await verifyOrder(await signed({ params, job: { id: JOB, kind: params.kind, epoch: 1, fence: 7 } }), context())

  it('is accepted where a route leads to its target', async () => {
    expect((await asked(undo)).params).toEqual(undo)
  })

  it('says that it is a dry run', async () => {
    expect((await asked({ ...undo, dry_run: true })).params).toEqual({ ...undo, dry_run: true })
  })

  it.each([
    ['a database that no route leads to', { ...undo, target: 'vault' }, 'policy-denied'],
    ['a source', { ...undo, target: 'production' }, 'policy-denied'],
    ['an unknown database', { ...undo, target: 'elsewhere' }, 'database-unknown'],
    ['a job that cannot be', { ...undo, job: '../x' }, 'order-malformed'],
    ['a dry run that is none', { ...undo, dry_run: false }, 'order-malformed'],
    ['something that undo does not know', { ...undo, engine: 'truncate' }, 'order-unknown-claim'],
    ['a dry run against the policy', { kind: 'export', source: 'staging', dry_run: true }, 'policy-denied'],
  ])('is refused for %s', async (_what, params, code) => {
    await expect(asked(params)).rejects.toMatchObject({ code })
  })
})

describe('the form of an order is checked first', () => {
  it('T19: larger than 64 KiB is refused before it is parsed', async () => {
    await expect(verifyOrder('x'.repeat(64 * 1024 + 1), context())).rejects.toMatchObject({ code: 'order-too-large' })
  })

  it.each(['', 'nonsense', 'a.b', 'e30.e30.e30.e30', '{"alg":"EdDSA"}'])('%j is no order', async (token) => {
    const code = expect.stringMatching(/^order-(malformed|wrong-type)$/)
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code })
  })

  it('T5: alg none is refused', async () => {
    const token = `${base64url({ alg: 'none', typ: ORDER_TYPE, kid })}.${base64url(order())}.`
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-wrong-type' })
  })

  it('T5: HS256 with the public key as the secret is refused', async () => {
    const token = await signedWithHeader({ alg: 'HS256' }, Buffer.from(publicBytes, 'base64url'))
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-wrong-type' })
  })

  it.each(['ES256', 'PS256'])('T5: %s, good, but none of ours, is refused', async (alg) => {
    const token = await signedWithHeader({ alg }, (await generateKeyPair(alg)).privateKey)
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-wrong-type' })
  })

  it.each([
    ['T4: the typ of another token', { typ: 'multiboard-sync-request+jwt' }],
    ['T4: the typ of any token', { typ: 'JWT' }],
    ['T4: our typ in another spelling', { typ: `application/${ORDER_TYPE}` }],
    ['T4: no typ', { typ: undefined }],
    ['T5: a critical extension', { crit: ['mystery'], mystery: 1 }],
    ['T5: the newer name of the same algorithm', { alg: 'Ed25519' }],
    ['T5: a key of its own', { jwk: { kty: 'OKP', crv: 'Ed25519', x: 'x' } }],
    ['T5: an address of keys', { jku: 'https://evil.example.com/keys' }],
    ['T5: an address of a certificate', { x5u: 'https://evil.example.com/cert' }],
    ['T5: anything else that nobody asked for', { zip: 'DEF' }],
  ])('%s is refused', async (_what, header) => {
    const token = await signedWithHeader(header)
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-wrong-type' })
  })
})

describe('the key of an order', () => {
  it.each(['__proto__', 'constructor', '../../agent.key.json', '', 'https://evil.example.com/key', 'x'.repeat(90)])(
    'T5: is not found by tricks such as the kid %j',
    async (id) => {
      const token = await signedWithHeader({ kid: id })
      await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-unknown-key' })
    },
  )

  it('T6: must be in the trust file', async () => {
    const token = await signedWithHeader({ kid: 'somebody-elses' })
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-unknown-key' })
  })

  it('must be named', async () => {
    const token = await signedWithHeader({ kid: undefined })
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-unknown-key' })
  })

  it('T5: is not taken from the header of the order, nor believed because it fits', async () => {
    const stranger = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
    const embedded = await signedWithHeader({ jwk: await exportJWK(stranger.publicKey) }, stranger.privateKey)
    await expect(verifyOrder(embedded, context())).rejects.toMatchObject({ code: 'order-wrong-type' })
    const named = await signedWithHeader({}, stranger.privateKey)
    await expect(verifyOrder(named, context())).rejects.toMatchObject({ code: 'order-bad-signature' })
  })

  it.each([
    ['expired', { not_after: '2026-11-22T12:00:00Z' }],
    ['not valid yet', { not_before: '2026-11-22T12:00:01Z' }],
    ['meant for archives', { use: 'archive' }],
  ])('G20: is refused when it is %s', async (_what, entry) => {
    trust = await trustWith(entry)
    await expect(verifyOrder(await signed(), context())).rejects.toMatchObject({ code: 'order-unknown-key' })
  })
})

describe('the signature of an order', () => {
  it('G9: does not survive a flipped bit anywhere in the token', async () => {
    const token = await signed()
    const [header = '', payload = '', signature = ''] = token.split('.')
    const flip = (part: string, share: number): string => {
      const bytes = Buffer.from(part, 'base64url')
      const at = Math.floor((bytes.length - 1) * share)
      bytes[at] = (bytes[at] ?? 0) ^ 1
      return bytes.toString('base64url')
    }
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const forged = [
        `${flip(header, share)}.${payload}.${signature}`,
        `${header}.${flip(payload, share)}.${signature}`,
        `${header}.${payload}.${flip(signature, share)}`,
      ]
      for (const bad of forged) {
        const code = expect.stringMatching(/^order-(bad-signature|malformed|wrong-type|unknown-key)$/)
        await expect(verifyOrder(bad, context())).rejects.toMatchObject({ code })
      }
      await expect(verifyOrder(forged[1] ?? '', context())).rejects.toMatchObject({ code: 'order-bad-signature' })
      await expect(verifyOrder(forged[2] ?? '', context())).rejects.toMatchObject({ code: 'order-bad-signature' })
    }
    await verifyOrder(token, context())
  })

  it('G9: of another order does not fit', async () => {
    const [header, payload] = (await signed({ jti: 'jti-00000002' })).split('.')
    const signature = (await signed()).split('.')[2]
    const token = `${header}.${payload}.${signature}`
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-bad-signature' })
  })
})

describe('a signed order is refused when', () => {
  it.each([
    ['T3: another control plane issued it', { iss: 'https://evil.example.com' }, 'order-wrong-issuer'],
    ['T3: it is for another agent', { aud: 'agent:vps2' }, 'order-wrong-audience'],
    ['T3: its audience is an array that names us', { aud: ['agent:vps1'] }, 'order-wrong-audience'],
    ['T3: its audience is an array of nobody', { aud: [] }, 'order-wrong-audience'],
    ['T3: it is for nobody', { aud: undefined }, 'order-malformed'],
    ['T3: it is for our name as a part of another', { aud: 'agent:vps1x' }, 'order-wrong-audience'],
    ['G9: it has expired', { iat: NOW_S - 330, nbf: NOW_S - 330, exp: NOW_S - 30 }, 'order-expired'],
    ['G9: it is not valid yet', { iat: NOW_S, nbf: NOW_S + 31 }, 'order-not-yet-valid'],
    ['G9: it was issued in the future', { iat: NOW_S + 31, nbf: NOW_S, exp: NOW_S + 200 }, 'order-not-yet-valid'],
    ['G9: it lives for more than 300 s', { exp: NOW_S + 301 }, 'order-malformed'],
    ['G9: it lives for ever', { exp: Number.MAX_SAFE_INTEGER }, 'order-malformed'],
    ['it ends before it begins', { exp: NOW_S }, 'order-malformed'],
    ['its times are text', { exp: '9999999999' }, 'order-malformed'],
    ['it has no jti', { jti: undefined }, 'order-malformed'],
    ['G9: it has a claim we do not know', { sudo: true }, 'order-unknown-claim'],
    [
      'G9: its job has a field we do not know',
      { job: { id: JOB, kind: 'sync', epoch: 1, fence: 7, force: true } },
      'order-unknown-claim',
    ],
    [
      'G9: it has a parameter we do not know',
      { params: { kind: 'sync', source: 'production', target: 'staging', engine: 'auto', sql: 'drop' } },
      'order-unknown-claim',
    ],
    ['it names a kind of job we do not know', { params: { kind: 'wipe', target: 'staging' } }, 'order-malformed'],
    ['it names two kinds of job', { job: { id: JOB, kind: 'export', epoch: 1, fence: 7 } }, 'order-malformed'],
    ['G9: its policy is another one', { policy_sha256: '0'.repeat(64) }, 'policy-changed'],
    [
      'the policy has no such route',
      { params: { kind: 'sync', source: 'staging', target: 'production', engine: 'auto' } },
      'target-protected',
    ],
    [
      'source and target are the same',
      { params: { kind: 'sync', source: 'staging', target: 'staging', engine: 'auto' } },
      'same-database',
    ],
    [
      'a database is not known',
      { params: { kind: 'sync', source: 'production', target: 'elsewhere', engine: 'auto' } },
      'database-unknown',
    ],
  ])('%s', async (_why, changes, code) => {
    await expect(verifyOrder(await signed(changes), context())).rejects.toMatchObject({ code })
    expect(seen.has('jti-00000001'), 'a refused order is not remembered').toBe(false)
  })

  it('the policy denies the export of a database that is only a target', async () => {
    const token = await signed({
      params: { kind: 'export', source: 'staging' },
      job: { id: JOB, kind: 'export', epoch: 1, fence: 0 },
    })
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'policy-denied' })
  })

  it.each([
    ['is protected and no route names it', 'vault', 'target-protected'],
    ['is not known', 'elsewhere', 'database-unknown'],
  ])('the target of its restore %s', async (_why, target, code) => {
    const params = { kind: 'restore', archive: '20261122T080312Z-production-k7f2', target, engine: 'auto' }
    const token = await signed({ params, job: { id: JOB, kind: 'restore', epoch: 1, fence: 1 } })
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code })
  })

  it.each([
    ['T20: ten minutes ahead', new Date(NOW.getTime() - 600_000)],
    ['T20: ten minutes behind', new Date(NOW.getTime() + 600_000)],
    ['T20: a minute ahead, and a little', new Date(NOW.getTime() - 60_001)],
    ['T20: a minute behind, and a little', new Date(NOW.getTime() + 60_001)],
    ['of unknown error', undefined],
    ['compared with garbage', new Date(Number.NaN)],
  ])('our clock is %s', async (_what, serverDate) => {
    await expect(verifyOrder(await signed(), context({ serverDate }))).rejects.toMatchObject({ code: 'clock-skew' })
  })

  it('T20: but not when clocks differ by a minute', async () => {
    await verifyOrder(await signed(), context({ serverDate: new Date(NOW.getTime() + 60_000) }))
  })

  it('G9: a claim hides behind a name that objects have anyway', async () => {
    const text = JSON.stringify(order()).replace('{', '{"__proto__":{"sudo":true},')
    const token = await new CompactSign(new TextEncoder().encode(text))
      .setProtectedHeader({ alg: 'EdDSA', typ: ORDER_TYPE, kid })
      .sign(key)
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-unknown-claim' })
  })
})

describe('T2: an order is taken once', () => {
  it('and refused when it comes again', async () => {
    const token = await signed()
    await verifyOrder(token, context())
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-replayed' })
  })

  it('and refused when it comes again after a restart', async () => {
    const token = await signed()
    await verifyOrder(token, context())
    await seen[Symbol.asyncDispose]()
    seen = await openSeenOrders(stateDir, () => NOW)
    await expect(verifyOrder(token, context())).rejects.toMatchObject({ code: 'order-replayed' })
  })

  it('and not for a job that the journal knows, should the list of seen orders be lost', async () => {
    await verifyOrder(await signed(), context())
    await begin(1)
    await seen[Symbol.asyncDispose]()
    await rm(join(stateDir, 'seen-orders.jsonl'))
    seen = await openSeenOrders(stateDir, () => NOW)
    await expect(verifyOrder(await signed(), context())).rejects.toMatchObject({ code: 'order-superseded' })
  })

  it('and never for a job that has ended, whatever the epoch', async () => {
    await using journal = await begin(1)
    const ended = { outcome: 'succeeded', target_state: 'changed' } as const
    await journal.record('finished', { result: { ...ended, tables: 1, rows: 1, bytes: 1, seconds: 1, peak_rss_mb: 1 } })
    const job = { id: JOB, kind: 'sync', epoch: 9, fence: 7 }
    await expect(verifyOrder(await signed({ job }), context())).rejects.toMatchObject({ code: 'order-replayed' })
  })

  it('and not while the journal cannot be read', async () => {
    await mkdir(join(stateDir, 'journal'))
    await writeFile(join(stateDir, 'journal', `${JOB}.jsonl`), 'garbage\n{}\n')
    await expect(verifyOrder(await signed(), context())).rejects.toMatchObject({ code: 'config-invalid' })
  })

  it('also when it comes twice at the same time', async () => {
    const token = await signed()
    const answers = await Promise.allSettled(Array.from({ length: 8 }, async () => await verifyOrder(token, context())))
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('and its job only with a newer epoch', async () => {
    const job = { id: JOB, kind: 'sync', epoch: 3, fence: 7 }
    await verifyOrder(await signed({ job }), context())
    for (const epoch of [1, 2, 3]) {
      const older = await signed({ jti: `jti-again-${epoch}`, job: { ...job, epoch } })
      await expect(verifyOrder(older, context())).rejects.toMatchObject({ code: 'order-superseded' })
    }
    await verifyOrder(await signed({ jti: 'jti-again-4', job: { ...job, epoch: 4 } }), context())
  })
})
