import { FlattenedSign, base64url, decodeProtectedHeader, flattenedVerify, type CryptoKey } from 'jose'
import { SyncError } from '@multiboard-sync/shared/sync-error'

/** Every kind of token has its own `typ`, so that one can never be used as another. */
export const MANIFEST_TYPE = 'multiboard-sync-manifest+jws'
const ALGORITHM = 'EdDSA'

export interface ManifestSigner {
  readonly kid: string
  /** Written into the archive's RESTORE.txt, so that it can be had when the agent is lost. */
  readonly publicJwk?: SignerJwk
  /** A compact JWS with detached payload (RFC 7515, appendix F) over the bytes. */
  sign(bytes: Uint8Array): Promise<string>
}

export interface ManifestTrust {
  /** Throws SyncError `archive-untrusted` unless a key that is trusted here signed exactly these bytes. */
  verify(jws: string, bytes: Uint8Array): Promise<{ kid: string }>
}

/** An Ed25519 public key (RFC 8037). */
export interface SignerJwk {
  kty: 'OKP'
  crv: 'Ed25519'
  x: string
}

/** `kid` is the RFC 7638 thumbprint of the public key. */
export function manifestSigner(key: CryptoKey, kid: string, publicJwk?: SignerJwk): ManifestSigner {
  return {
    kid,
    ...(publicJwk ? { publicJwk } : {}),
    async sign(bytes) {
      const jws = await new FlattenedSign(bytes)
        .setProtectedHeader({ alg: ALGORITHM, typ: MANIFEST_TYPE, kid })
        .sign(key)
      return `${jws.protected}..${jws.signature}`
    },
  }
}

/** `findKey` gives the trusted public key for a kid, or undefined. */
export function manifestTrust(findKey: (kid: string) => Promise<CryptoKey | undefined>): ManifestTrust {
  return {
    async verify(jws, bytes) {
      const { header, signature } = split(jws)
      const kid = readKid(header)
      const key = await findKey(kid)
      if (!key) throw untrusted('is signed with a key that this agent does not trust')
      try {
        const signed = { protected: header, payload: base64url.encode(bytes), signature }
        await flattenedVerify(signed, key, { algorithms: [ALGORITHM] })
      } catch (cause) {
        throw untrusted('differs from what was signed', cause)
      }
      return { kid }
    },
  }
}

/** Which key the signature says it is by; nothing is verified. Throws `archive-untrusted` when it is none of ours. */
export function signerOf(jws: string): string {
  return readKid(split(jws).header)
}

/** Only the one way of writing a signature passes: decoders are lenient, and a changed byte must not go unnoticed. */
function split(jws: string): { header: string; signature: string } {
  const match = /^([\w-]+)\.\.([\w-]+)$/.exec(jws)
  const [, header, signature] = match ?? []
  if (header === undefined || signature === undefined || !isCanonical(signature)) {
    throw untrusted('has a malformed signature')
  }
  return { header, signature }
}

function isCanonical(text: string): boolean {
  return Buffer.from(text, 'base64url').toString('base64url') === text
}

function readKid(header: string): string {
  let parsed
  try {
    parsed = decodeProtectedHeader({ protected: header })
  } catch (cause) {
    throw untrusted('has a malformed signature', cause)
  }
  if (parsed.alg !== ALGORITHM || parsed.typ !== MANIFEST_TYPE || parsed.crit !== undefined) {
    throw untrusted('has a signature of another kind')
  }
  if (typeof parsed.kid !== 'string') throw untrusted('has a signature that names no key')
  return parsed.kid
}

export function untrusted(why: string, cause?: unknown): SyncError {
  return new SyncError('archive-untrusted', `The archive's manifest ${why}.`, {
    hint: "If another agent of yours made this archive, add its public key to this agent's trust file. Otherwise do not use it.",
    cause,
  })
}
