import { CompactSign, compactVerify, decodeProtectedHeader, type CryptoKey } from 'jose'
import { ORDER_MAX_BYTES, ORDER_TYPE, type Order } from './order.ts'
import { SyncError } from './sync-error.ts'

/** The one algorithm. jose's name for Ed25519 keys here is EdDSA; a key or header that says otherwise is refused. */
const ALGORITHM = 'EdDSA'

/** Signs an order as a compact JWS (RFC 7515). `kid` is the RFC 7638 thumbprint of the public key. */
export async function signOrder(order: Order, key: CryptoKey, kid: string): Promise<string> {
  return await new CompactSign(new TextEncoder().encode(JSON.stringify(order)))
    .setProtectedHeader({ alg: ALGORITHM, typ: ORDER_TYPE, kid })
    .sign(key)
}

/**
 * Checks form, header and signature of an order and returns the verified payload's bytes as unparsed JSON.
 * `findKey` gives the trusted key for a kid, or undefined. In this order, fail closed: too large, not a compact JWS,
 * wrong alg or typ, crit present, unknown kid, bad signature. Claims are checked by the agent's verify stage.
 */
export async function openOrder(
  token: string,
  findKey: (kid: string) => Promise<CryptoKey | undefined>,
): Promise<unknown> {
  if (Buffer.byteLength(token) > ORDER_MAX_BYTES) {
    throw new SyncError('order-too-large', `The order is larger than ${ORDER_MAX_BYTES} bytes.`)
  }
  const kid = readKid(token)
  const key = await findKey(kid)
  if (!key) {
    throw new SyncError('order-unknown-key', 'The order is signed with a key that this agent does not trust.', {
      hint: "Add the control plane's public key to the trust file, if it is yours.",
    })
  }
  try {
    const { payload } = await compactVerify(token, key, { algorithms: [ALGORITHM] })
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch (cause) {
    throw new SyncError('order-bad-signature', "The order's signature does not fit its contents.", { cause })
  }
}

function readKid(token: string): string {
  let header
  try {
    header = decodeProtectedHeader(token)
  } catch (cause) {
    throw new SyncError('order-malformed', 'The order is not a compact JWS.', { cause })
  }
  if (header.alg !== ALGORITHM || header.typ !== ORDER_TYPE || header.crit !== undefined) {
    throw new SyncError('order-wrong-type', `The order's header must say alg ${ALGORITHM} and typ ${ORDER_TYPE}.`)
  }
  if (typeof header.kid !== 'string') throw new SyncError('order-unknown-key', 'The order names no key.')
  return header.kid
}
