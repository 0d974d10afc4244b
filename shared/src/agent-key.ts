import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, importJWK, jwtVerify, SignJWT, type CryptoKey, type JWK } from 'jose'
import { z } from 'zod'
import { agentIdSchema } from './job.ts'
import { SyncError } from './sync-error.ts'

/*
 * How an agent's public key becomes known: by a one-time code that an admin made, or, later, by a request that the key
 * before it has signed. Either way the new key proves that its owner holds the private half: a JWS of its own `typ` over
 * what it is for. The idea is RFC 9449 (DPoP); the bodies are those of POST /v1/enrollments, /v1/enroll, /v1/agent/keys.
 */

const PROOF_TYPE = 'multiboard-sync-enroll+jwt'
/** A proof is made for one request. */
const PROOF_MAX_AGE_S = 60
/** For clocks that are ahead of ours. */
const CLOCK_TOLERANCE_S = 30
/** 128 bits: with ten minutes and one use there is nothing to guess. The prefix is for scanners of secrets. */
const CODE_PREFIX = 'mbse_'
const CODE_BYTES = 16

export const publicJwkSchema = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'an Ed25519 public key'),
  d: z.undefined({ error: 'this is the private key: keep it on the agent and send the public one' }).optional(),
})

export const enrollmentCodeSchema = z
  .string()
  .regex(/^mbse_[A-Za-z0-9_-]{22}$/, 'a code as it was shown: mbse_ and 22 characters')
const proofSchema = z.string().max(4096)

/** Body of POST /v1/enrollments. */
export const enrollmentRequestSchema = z.strictObject({ agent: agentIdSchema })
/** The one answer that ever holds the code. */
export const enrollmentReplySchema = z
  .looseObject({ agent: agentIdSchema, code: enrollmentCodeSchema, expires_at: z.iso.datetime() })
  .meta({ id: 'Enrollment' })

/** Body of POST /v1/enroll. */
export const enrollRequestSchema = z.strictObject({
  code: enrollmentCodeSchema,
  public_jwk: publicJwkSchema,
  proof: proofSchema,
})
export type EnrollRequest = z.infer<typeof enrollRequestSchema>
/** `signing_kid`: of the key that orders will be signed with, to be compared with the trust file, never put into it. */
export const enrollReplySchema = z.looseObject({ agent: agentIdSchema, signing_kid: z.string().max(128) })
export type EnrollReply = z.infer<typeof enrollReplySchema>

/** Body of POST /v1/agent/keys, signed by the current key. */
export const rotateRequestSchema = z.strictObject({ public_jwk: publicJwkSchema, proof: proofSchema })
export type RotateRequest = z.infer<typeof rotateRequestSchema>
/** `previous_until`: so long the key before it is taken, too; null where there is none any more. */
export const rotateReplySchema = z.looseObject({
  kid: z.string().max(128),
  previous_until: z.iso.datetime().nullable(),
})
export type RotateReply = z.infer<typeof rotateReplySchema>

export function newEnrollmentCode(): string {
  return `${CODE_PREFIX}${randomBytes(CODE_BYTES).toString('base64url')}`
}

/** What is kept of a code: without it nobody can make a proof, and from it nobody finds the code. */
export function hashCode(code: string): Buffer {
  return createHash('sha256').update(code).digest()
}

/** What a proof is for, so that one can never be used for the other, at another control plane, or with another code. */
export type ProofPurpose = { origin: string } & ({ code: string } | { agent: string })

/** A JWS by the new key, for the field `proof`. */
export async function proveKey(purpose: ProofPurpose, key: CryptoKey): Promise<string> {
  return await new SignJWT()
    .setProtectedHeader({ alg: 'EdDSA', typ: PROOF_TYPE })
    .setSubject(subjectOf(purpose))
    .setAudience(purpose.origin)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(`${PROOF_MAX_AGE_S}s`)
    .sign(key)
}

/** The key whose private half made this proof, for exactly this purpose. Throws `enrollment-refused`. */
export async function verifyKeyProof(
  { public_jwk: { kty, crv, x }, proof }: Pick<RotateRequest, 'public_jwk' | 'proof'>,
  purpose: ProofPurpose,
): Promise<ProvenKey> {
  const jwk = { kty, crv, x }
  try {
    const key = await importJWK(jwk, 'EdDSA')
    if (key instanceof Uint8Array) throw new TypeError('not an asymmetric key')
    const { payload } = await jwtVerify(proof, key, {
      algorithms: ['EdDSA'],
      typ: PROOF_TYPE,
      subject: subjectOf(purpose),
      audience: purpose.origin,
      maxTokenAge: PROOF_MAX_AGE_S,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['sub', 'iat', 'exp', 'jti'],
    })
    // jose accepts an array that contains the audience; we want exactly one.
    if (payload.aud !== purpose.origin) throw new Error('aud')
    return { jwk, kid: await calculateJwkThumbprint(jwk) }
  } catch (cause) {
    throw new SyncError('enrollment-refused', 'The new key is not proven: its proof does not fit this request.', {
      hint: 'Use the command of the agent; CONTROL_PLANE_URL must be the PUBLIC_URL of the control plane, and both clocks right.',
      cause,
    })
  }
}

interface ProvenKey {
  /** The public members alone. */
  jwk: JWK
  /** RFC 7638 thumbprint. */
  kid: string
}

function subjectOf(purpose: ProofPurpose): string {
  return 'code' in purpose ? `code:${hashCode(purpose.code).toString('base64url')}` : `agent:${purpose.agent}`
}
