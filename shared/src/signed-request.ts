import { randomUUID } from 'node:crypto'
import { SignJWT, jwtVerify, type CryptoKey } from 'jose'
import {
  REQUEST_ALGORITHM,
  REQUEST_MAX_AGE_S,
  REQUEST_SCHEME,
  REQUEST_TYPE,
  requestClaims,
  sha256,
  type RequestFacts,
} from './request-claims.ts'
import { SyncError } from './sync-error.ts'

/*
 * How an agent proves who it is: every request carries `authorization: MBS-JWS <token>`, a JWS by the agent's key over
 * method, path with query, and the body's SHA-256, valid for 60 seconds. The server stores public keys only.
 * The idea is RFC 9449 (DPoP) and RFC 7523 (private_key_jwt) in one.
 */
/** An agent's clock may be ahead so far. Behind it may be as much as a request lives: no tolerance lengthens that. */
const CLOCK_TOLERANCE_S = 30

/** The authorization header for one request of an agent. `jti` is stable across retries of the same call. */
export async function signRequest(
  facts: RequestFacts,
  agent: string,
  key: CryptoKey,
  jti: string = randomUUID(),
): Promise<string> {
  const token = await new SignJWT(requestClaims(facts, agent, jti, new Date()))
    .setProtectedHeader({ alg: REQUEST_ALGORITHM, typ: REQUEST_TYPE })
    .sign(key)
  return `${REQUEST_SCHEME} ${token}`
}

/** The agent id that a request claims, unproven, to look its key up. Throws `unauthorized`. */
export function claimedAgent(authorization: string | undefined): string {
  const payload = tokenOf(authorization).split('.')[1] ?? ''
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    if (typeof claims === 'object' && claims !== null && 'iss' in claims && typeof claims.iss === 'string') {
      return claims.iss
    }
  } catch (cause) {
    throw unauthorized(cause)
  }
  throw unauthorized()
}

/**
 * Verifies a request against the agent's public key. Returns its jti, and how far the agent's clock is ahead of ours, in
 * milliseconds, to about half a second and the request's way. Throws `unauthorized` for anything amiss.
 */
export async function verifyRequest(
  authorization: string | undefined,
  facts: RequestFacts,
  agent: string,
  key: CryptoKey,
): Promise<{ jti: string; clockSkewMs: number }> {
  try {
    const { payload } = await jwtVerify(tokenOf(authorization), key, {
      algorithms: [REQUEST_ALGORITHM],
      typ: REQUEST_TYPE,
      issuer: agent,
      audience: facts.origin,
      maxTokenAge: REQUEST_MAX_AGE_S,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['jti', 'iat', 'exp', 'htm', 'htu', 'bh'],
    })
    // jose accepts an array that contains the audience; we want exactly one.
    if (payload.aud !== facts.origin) throw new Error('aud')
    if (payload['htm'] !== facts.method || payload['htu'] !== facts.path) throw new Error('htu')
    if (payload['bh'] !== sha256(facts.body)) throw new Error('bh')
    const [now, { iat = 0 }] = [Date.now(), payload]
    // jose's tolerance works in both directions.
    if (Math.floor(now / 1000) - iat > REQUEST_MAX_AGE_S) throw new Error('iat')
    // A numeric date counts whole seconds: on average half of one has passed.
    return { jti: String(payload.jti), clockSkewMs: iat * 1000 + 500 - now }
  } catch (cause) {
    throw unauthorized(cause)
  }
}

function tokenOf(authorization: string | undefined): string {
  const [scheme, token] = authorization?.split(' ') ?? []
  if (scheme !== REQUEST_SCHEME || !token) throw unauthorized()
  // Decoders overlook the last character's spare bits: one token, one spelling.
  if (!token.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)) {
    throw unauthorized()
  }
  return token
}

function unauthorized(cause?: unknown): SyncError {
  return new SyncError('unauthorized', "The request is not signed by a key of this control plane's agents.", {
    hint: "Check AGENT_ID, the agent's key, CONTROL_PLANE_URL and the clocks of both machines.",
    cause,
  })
}
