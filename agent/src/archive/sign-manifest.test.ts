import { CompactSign, FlattenedSign, generateKeyPair } from 'jose'
import { describe, expect, it } from 'vitest'
import { MANIFEST_TYPE, manifestSigner, manifestTrust } from './sign-manifest.ts'

const bytes = new TextEncoder().encode('{"format":1}\n')
const { privateKey, publicKey } = await generateKeyPair('EdDSA')
const signer = manifestSigner(privateKey, 'k1')
const trust = manifestTrust(async (kid) => (kid === 'k1' ? publicKey : undefined))
const refused = { code: 'archive-untrusted' }

describe('the signature of a manifest', () => {
  it('is a compact JWS with an empty payload, and verifies', async () => {
    const jws = await signer.sign(bytes)
    expect(jws).toMatch(/^[\w-]+\.\.[\w-]+$/)
    await expect(trust.verify(jws, bytes)).resolves.toEqual({ kid: 'k1' })
  })

  it('does not verify when any byte of it or of the manifest is another', async () => {
    const jws = await signer.sign(bytes)
    for (let at = 0; at < jws.length; at += 1) {
      for (const mask of [1, 2, 4, 16]) {
        const changed = Buffer.from(jws)
        changed[at] = (changed[at] ?? 0) ^ mask
        await expect(
          trust.verify(changed.toString('latin1'), bytes),
          `byte ${at} of the signature`,
        ).rejects.toMatchObject(refused)
      }
    }
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Uint8Array.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 1
      await expect(trust.verify(jws, changed), `byte ${at} of the manifest`).rejects.toMatchObject(refused)
    }
    for (const text of [`${jws}\n`, `${jws}=`, ` ${jws}`, '', '..', jws.replace('..', '.e30.')]) {
      await expect(trust.verify(text, bytes)).rejects.toMatchObject(refused)
    }
  })

  it('does not verify when it was made for another purpose or by another key', async () => {
    const order = new FlattenedSign(bytes).setProtectedHeader({
      alg: 'EdDSA',
      typ: 'multiboard-sync-order+jwt',
      kid: 'k1',
    })
    const parts = await order.sign(privateKey)
    await expect(trust.verify(`${parts.protected}..${parts.signature}`, bytes)).rejects.toMatchObject(refused)
    const other = await generateKeyPair('EdDSA')
    await expect(trust.verify(await manifestSigner(other.privateKey, 'k1').sign(bytes), bytes)).rejects.toMatchObject(
      refused,
    )
    await expect(trust.verify(await manifestSigner(privateKey, 'k2').sign(bytes), bytes)).rejects.toMatchObject(refused)
    const whole = await new CompactSign(bytes)
      .setProtectedHeader({ alg: 'EdDSA', typ: MANIFEST_TYPE, kid: 'k1' })
      .sign(privateKey)
    await expect(trust.verify(whole, bytes)).rejects.toMatchObject(refused)
  })
})
