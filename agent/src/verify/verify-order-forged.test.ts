import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { generateKeyPair, type CryptoKey } from 'jose'
import type { Order } from '@multiboard-sync/shared/order'
import { policySchema, policySha256 } from '@multiboard-sync/shared/policy'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import type { SyncError } from '@multiboard-sync/shared/sync-error'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openSeenOrders, type SeenOrders } from './seen-orders.ts'
import { verifyOrder, type OrderContext } from './verify-order.ts'

/** What becomes of a good order when somebody changes it on its way, and of its time to the millisecond. */

const NOW = new Date('2026-11-22T12:00:00Z')
const NOW_S = NOW.getTime() / 1000
const ISSUER = 'https://sync.example.com'

const policy = policySchema.parse({ databases: { production: { role: 'source' } } })

let stateDir: string
let seen: SeenOrders
let keys: { publicKey: CryptoKey; privateKey: CryptoKey }

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'forged-'))
  seen = await openSeenOrders(stateDir, () => NOW)
  keys = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
})

afterEach(async () => {
  await seen[Symbol.asyncDispose]()
  await rm(stateDir, { recursive: true })
})

function context(changes: Partial<OrderContext> = {}): OrderContext {
  return {
    agent: 'vps1',
    issuer: ISSUER,
    policy,
    policySha256: policySha256(policy),
    findKey: async (kid) => (kid === 'the-key' ? keys.publicKey : undefined),
    serverDate: NOW,
    now: () => NOW,
    seen,
    journaled: async () => undefined,
    ...changes,
  }
}

async function signed(): Promise<string> {
  const order: Order = {
    iss: ISSUER,
    aud: 'agent:vps1',
    iat: NOW_S,
    nbf: NOW_S,
    exp: NOW_S + 300,
    jti: 'jti-00000001',
    job: { id: 'j4k7q2m9xw1ab', kind: 'export', epoch: 1, fence: 7 },
    requester: 'ops@example.com',
    params: { kind: 'export', source: 'production' },
    policy_sha256: policySha256(policy),
  }
  return await signOrder(order, keys.privateKey, 'the-key')
}

describe('G9: an order that was changed in transit', () => {
  const forged = expect.stringMatching(/^order-(bad-signature|malformed|wrong-type|unknown-key)$/)
  const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n\0'

  it('at any place, to any other character, is refused, and the order itself is still good after that', async () => {
    const token = await signed()
    for (let at = 0; at < token.length; at += 1) {
      const other = ALPHABET[(at * 7) % ALPHABET.length] ?? 'A'
      const changed = `${token.slice(0, at)}${other === token[at] ? '~' : other}${token.slice(at + 1)}`
      await expect(verifyOrder(changed, context()), `place ${at}`).rejects.toMatchObject({ code: forged })
    }
    await verifyOrder(token, context())
  })

  it('in any way is refused', async () => {
    const token = await signed()
    const segments = token.split('.')
    const place = fc.nat({ max: token.length })
    const change = fc.oneof(
      fc
        .tuple(place, fc.string({ minLength: 1, maxLength: 8 }))
        .map(([at, text]) => token.slice(0, at) + text + token.slice(at)),
      fc
        .tuple(place, fc.string({ minLength: 1, maxLength: 8 }))
        .map(([at, text]) => token.slice(0, at) + text + token.slice(at + text.length)),
      fc
        .tuple(place, fc.integer({ min: 1, max: 40 }))
        .map(([at, length]) => token.slice(0, at) + token.slice(at + length)),
      fc.constantFrom(...segments).map((segment) => `${token}.${segment}`),
      fc.array(fc.constantFrom(...segments, ''), { maxLength: 4 }).map((some) => some.join('.')),
      fc.tuple(fc.nat({ max: 2 }), fc.base64String()).map(([at, text]) => segments.with(at, text).join('.')),
    )
    await fc.assert(
      fc.asyncProperty(change, async (changed) => {
        fc.pre(changed !== token)
        await expect(verifyOrder(changed, context())).rejects.toMatchObject({ code: forged })
      }),
      { numRuns: 500 },
    )
    await verifyOrder(token, context())
  })

  it('only in how it is spelled, not in what it says, is refused too', async () => {
    const token = await signed()
    const last = token.at(-1) ?? ''
    // 64 bytes leave four bits of the last character without a meaning.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const twin = token.slice(0, -1) + (alphabet[alphabet.indexOf(last) ^ 1] ?? '')
    expect(Buffer.from(twin.split('.')[2] ?? '', 'base64url')).toEqual(
      Buffer.from(token.split('.')[2] ?? '', 'base64url'),
    )
    for (const spelled of [twin, `${token}==`, `${token}\n`, ` ${token}`, token.replace('.', '=.')]) {
      await expect(verifyOrder(spelled, context())).rejects.toMatchObject({ code: 'order-malformed' })
    }
  })
})

describe('the time of an order', () => {
  // The tolerance is 30 s either way: an order is good from 30 s before it was issued until just before 30 s after its end.
  it.each([
    [-30_001, 'order-not-yet-valid'],
    [-30_000, 'taken'],
    [0, 'taken'],
    [329_999, 'taken'],
    [330_000, 'order-expired'],
    [Number.NaN, 'clock-skew'],
  ])('G9: %d ms after it was issued its time is judged to the millisecond', async (afterMs, code) => {
    const now = new Date(NOW.getTime() + afterMs)
    const verified = verifyOrder(await signed(), context({ now: () => now, serverDate: now }))
    expect(
      await verified.then(
        () => 'taken',
        ({ code: refusal }: SyncError) => refusal,
      ),
    ).toBe(code)
  })
})
