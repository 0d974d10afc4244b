import type { Order } from '@multiboard-sync/shared/order'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { calculateJwkThumbprint, importJWK, type JWK } from 'jose'

export interface OrderSigner {
  /** RFC 7638 thumbprint of the public key: what agents pin. */
  kid: string
  sign(order: Order): Promise<string>
}

/** Makes a signer of a private Ed25519 JWK. Throws `config-invalid`, never showing the key. */
export async function makeOrderSigner(jwk: JWK): Promise<OrderSigner> {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519' || !jwk.x || !jwk.d) throw unusable()
  const { kty, crv, x, d } = jwk
  const key = await importJWK({ kty, crv, x, d }, 'EdDSA').catch((cause: unknown) => {
    throw unusable(cause)
  })
  if (key instanceof Uint8Array) throw unusable()
  const kid = await calculateJwkThumbprint({ kty, crv, x })
  return { kid, sign: async (order) => await signOrder(order, key, kid) }
}

function unusable(cause?: unknown): SyncError {
  return new SyncError('config-invalid', 'The signing key is not a private Ed25519 key as a JWK.', {
    hint: 'Make one with `pnpm keys`.',
    cause,
  })
}
