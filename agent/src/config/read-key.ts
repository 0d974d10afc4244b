import { readFile } from 'node:fs/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { calculateJwkThumbprint, importJWK, type CryptoKey, type JWK } from 'jose'
import { z } from 'zod'

const privateJwkSchema = z.looseObject({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string(),
  d: z.string(),
})

export interface AgentKey {
  /** RFC 7638 thumbprint of the public key. */
  kid: string
  privateKey: CryptoKey
  publicKey: CryptoKey
}

/** Reads the agent's Ed25519 key (a private JWK). Throws `key-missing`; the file's contents are never printed. */
export async function readKey(path: string): Promise<AgentKey> {
  try {
    const jwk = privateJwkSchema.parse(JSON.parse(await readFile(path, 'utf8')))
    const publicJwk: JWK = { kty: jwk.kty, crv: jwk.crv, x: jwk.x }
    return {
      kid: await calculateJwkThumbprint(publicJwk),
      privateKey: asCryptoKey(await importJWK({ ...publicJwk, d: jwk.d }, 'EdDSA')),
      publicKey: asCryptoKey(await importJWK(publicJwk, 'EdDSA')),
    }
  } catch (cause) {
    throw new SyncError('key-missing', `${path} holds no Ed25519 private key (JWK).`, {
      hint: 'Make one with `pnpm keys`, or set AGENT_KEY_FILE.',
      cause,
    })
  }
}

function asCryptoKey(key: CryptoKey | Uint8Array): CryptoKey {
  if (key instanceof Uint8Array) throw new TypeError('not an asymmetric key')
  return key
}
