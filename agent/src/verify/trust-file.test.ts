import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import { expect, it } from 'vitest'
import { parseTrustFile, readTrustFile } from './trust-file.ts'

async function newKey() {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const jwk = await exportJWK(publicKey)
  return { jwk, kid: await calculateJwkThumbprint(jwk), secretJwk: await exportJWK(privateKey) }
}

it('G20: finds each key for its own use and time only', async () => {
  const [first, second] = [await newKey(), await newKey()]
  const trust = await parseTrustFile(
    JSON.stringify({
      keys: [
        {
          kid: first.kid,
          use: 'order',
          not_before: '2026-01-01T00:00:00Z',
          not_after: '2027-01-01T00:00:00Z',
          jwk: first.jwk,
        },
        { kid: second.kid, use: 'archive', jwk: second.jwk },
      ],
    }),
  )
  const now = new Date('2026-11-22T00:00:00Z')
  expect(await trust.findOrderKey(first.kid, now)).toBeDefined()
  expect(await trust.findOrderKey(first.kid, new Date('2025-12-31T23:59:59Z'))).toBeUndefined()
  expect(await trust.findOrderKey(first.kid, new Date('2027-01-01T00:00:00Z'))).toBeUndefined()
  expect(await trust.findArchiveKey(first.kid, now)).toBeUndefined()
  expect(await trust.findArchiveKey(second.kid, now)).toBeDefined()
  expect(await trust.findOrderKey(second.kid, now)).toBeUndefined()
  expect(trust.orderKids()).toEqual([first.kid])
})

it.each([
  ['text that is not JSON', () => 'nope'],
  ['no keys', () => '{}'],
  ['a field we do not know', ({ kid, jwk }: Key) => ({ keys: [{ kid, use: 'order', jwk, revoked: true }] })],
  ['a kid that is not the thumbprint', ({ jwk }: Key) => ({ keys: [{ kid: 'my-key', use: 'order', jwk }] })],
  ['a use we do not know', ({ kid, jwk }: Key) => ({ keys: [{ kid, use: 'request', jwk }] })],
  ['a private key', ({ kid, secretJwk }: Key) => ({ keys: [{ kid, use: 'order', jwk: secretJwk }] })],
  ['one key with two uses', ({ kid, jwk }: Key) => ({ keys: ['order', 'archive'].map((use) => ({ kid, use, jwk })) })],
  [
    'a key of another curve',
    ({ kid, jwk }: Key) => ({ keys: [{ kid, use: 'order', jwk: { ...jwk, crv: 'X25519' } }] }),
  ],
  ['a date that is none', ({ kid, jwk }: Key) => ({ keys: [{ kid, use: 'order', jwk, not_after: 'tomorrow' }] })],
])('refuses %s', async (_what, make) => {
  const made = make(await newKey())
  const text = typeof made === 'string' ? made : JSON.stringify(made)
  await expect(parseTrustFile(text)).rejects.toMatchObject({ code: 'config-invalid' })
})
type Key = Awaited<ReturnType<typeof newKey>>

it('says which file is missing', async () => {
  const missing = readTrustFile('/nonexistent/trust.json')
  await expect(missing).rejects.toMatchObject({
    code: 'key-missing',
    hint: expect.stringContaining('/nonexistent/trust.json'),
  })
})
