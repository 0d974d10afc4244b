import { CompactSign, compactVerify, decodeProtectedHeader, type CryptoKey } from 'jose'
import { ORDER_MAX_BYTES, ORDER_TYPE, type Order } from './order.ts'
import { SyncError } from './sync-error.ts'

/** The one algorithm. jose's name for Ed25519 keys here is EdDSA; a key or header that says otherwise is refused. */
const ALGORITHM = 'EdDSA'
/** Of a SHA-256 as base64url: what a stranger puts in its place is not repeated at length. */
const KID_LENGTH = 43

/** Signs an order as a compact JWS (RFC 7515). `kid` is the RFC 7638 thumbprint of the public key. */
export async function signOrder(order: Order, key: CryptoKey, kid: string): Promise<string> {
  return await new CompactSign(new TextEncoder().encode(JSON.stringify(order)))
    .setProtectedHeader({ alg: ALGORITHM, typ: ORDER_TYPE, kid })
    .sign(key)
}

/**
 * Checks form, header and signature of an order and returns the JSON of the verified bytes, not looked at yet.
 * `findKey` gives the trusted key for a kid, or undefined. In this order, fail closed: too large, not a compact JWS,
 * a header that is not alg, typ and kid alone (so neither crit nor a key or its address), unknown kid, bad signature.
 * Claims are checked by the agent's verify stage.
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
      hint: `If ${kid.slice(0, KID_LENGTH)} is your control plane's key: is it in the trust file, with today inside its dates? After a change send the agent SIGHUP.`,
    })
  }
  const { payload } = await compactVerify(token, key, { algorithms: [ALGORITHM] }).catch((cause: unknown) => {
    throw new SyncError('order-bad-signature', "The order's signature does not fit its contents.", {
      hint: 'Something between control plane and agent changed the order, or somebody forged it.',
      cause,
    })
  })
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch (cause) {
    throw new SyncError('order-malformed', 'The signed bytes are not JSON.', { cause })
  }
}

function readKid(token: string): string {
  // A decoder forgives padding, other alphabets and stray bits: one order must have one spelling.
  const segments = token.split('.')
  if (segments.length !== 3 || !segments.every(isBase64Url)) throw notCompact()
  let header
  try {
    header = decodeProtectedHeader(token)
  } catch (cause) {
    throw notCompact(cause)
  }
  const { alg, typ, kid, ...others } = header
  if (alg !== ALGORITHM || typ !== ORDER_TYPE || Object.keys(others).length > 0) {
    throw new SyncError(
      'order-wrong-type',
      `The order's header must say alg ${ALGORITHM}, typ ${ORDER_TYPE} and kid, and nothing else.`,
    )
  }
  if (typeof kid !== 'string') throw new SyncError('order-unknown-key', 'The order names no key.')
  return kid
}

function isBase64Url(text: string): boolean {
  return Buffer.from(text, 'base64url').toString('base64url') === text
}

function notCompact(cause?: unknown): SyncError {
  return new SyncError('order-malformed', 'The order is not a compact JWS.', { cause })
}
