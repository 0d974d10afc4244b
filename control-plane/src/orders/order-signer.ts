import type { Order } from '@multiboard-sync/shared/order'
import { signOrder } from '@multiboard-sync/shared/signed-order'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import {
  calculateJwkThumbprint,
  importJWK,
  jwtVerify,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTPayload,
  type JWTVerifyOptions,
} from 'jose'

export interface OrderSigner {
  /** RFC 7638 thumbprint of the public key: what agents pin. */
  kid: string
  sign(order: Order): Promise<string>
  /** Signs what we alone read again, with a `typ` of its own: it can never be taken for an order. */
  signOwn(typ: string, claims: JWTPayload): Promise<string>
  /** The claims of what `signOwn` signed; rejects when the signature or one of the conditions does not hold. */
  verifyOwn(token: string, conditions: JWTVerifyOptions & { typ: string }): Promise<JWTPayload>
}

const ALGORITHM = 'EdDSA'

/** Makes a signer of a private Ed25519 JWK. Throws `config-invalid`, never showing the key. */
export async function makeOrderSigner(jwk: JWK): Promise<OrderSigner> {
  if (jwk.kty !== 'OKP' || jwk.crv !== 'Ed25519' || !jwk.x || !jwk.d) throw unusable()
  const { kty, crv, x, d } = jwk
  const importKey = async (part: JWK): Promise<CryptoKey> => {
    const key = await importJWK(part, ALGORITHM).catch((cause: unknown) => {
      throw unusable(cause)
    })
    if (key instanceof Uint8Array) throw unusable()
    return key
  }
  const privateKey = await importKey({ kty, crv, x, d })
  const publicKey = await importKey({ kty, crv, x })
  const kid = await calculateJwkThumbprint({ kty, crv, x })
  return {
    kid,
    sign: async (order) => await signOrder(order, privateKey, kid),
    signOwn: async (typ, claims) =>
      await new SignJWT(claims).setProtectedHeader({ alg: ALGORITHM, typ, kid }).sign(privateKey),
    verifyOwn: async (token, conditions) =>
      (await jwtVerify(token, publicKey, { ...conditions, algorithms: [ALGORITHM] })).payload,
  }
}

function unusable(cause?: unknown): SyncError {
  return new SyncError('config-invalid', 'The signing key is not a private Ed25519 key as a JWK.', {
    hint: 'Make one with `pnpm keys`.',
    cause,
  })
}
