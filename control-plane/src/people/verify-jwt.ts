import { SyncError } from '@multiboard-sync/shared/sync-error'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  decodeJwt,
  errors,
  jwtVerify,
  type JSONWebKeySet,
  type JWK,
  type JWTPayload,
  type JWTVerifyGetKey,
} from 'jose'
import type { Issuer } from './issuer.ts'
import { roles, type Person, type Role } from './person.ts'

// As with agents: two servers' clocks may differ a little.
const CLOCK_TOLERANCE_S = 30
// For people's names in the audit and in orders.
const subjectForm = /^[^\p{Cc}\p{Cs}]{1,120}$/u

interface KnownIssuer {
  issuer: Issuer
  keys: JWTVerifyGetKey
}

/** Verifies the JWTs of these issuers. Throws `unauthorized`, `forbidden` for who has no role here, and `internal`. */
export function makeJwtVerifier(issuers: readonly Issuer[]): (token: string) => Promise<Person & { expiresAt: Date }> {
  const known = new Map<string, KnownIssuer>(issuers.map((issuer) => [issuer.issuer, { issuer, keys: keysOf(issuer) }]))
  return async (token) => {
    const found = known.get(claimedIssuer(token))
    if (!found) throw unauthorized()
    const { issuer } = found
    const payload = await verify(token, found)
    const { sub = '', exp = 0 } = payload
    if (!subjectForm.test(sub)) throw unauthorized()
    return { name: `${issuer.name}:${sub}`, role: roleOf(payload, issuer), via: 'jwt', expiresAt: new Date(exp * 1000) }
  }
}

async function verify(token: string, { issuer, keys }: KnownIssuer): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer: issuer.issuer,
      audience: issuer.audience,
      algorithms: issuer.algorithms,
      typ: issuer.typ,
      maxTokenAge: issuer.maxAgeS,
      clockTolerance: CLOCK_TOLERANCE_S,
      requiredClaims: ['sub', 'iat', 'exp'],
    })
    // jose takes a list that holds our name. One's own app means us alone, or another receiver could use it against us.
    if (issuer.isPinned && payload.aud !== issuer.audience) throw unauthorized()
    return payload
  } catch (cause) {
    // Keys of the configuration are never away: what fails with them is the token, as one that names another algorithm.
    throw issuer.jwks_url !== undefined && isKeysAway(cause) ? keysAway(cause) : unauthorized(cause)
  }
}

function keysOf(issuer: Issuer): JWTVerifyGetKey {
  // Asked for when a token with an unknown kid comes, kept for ten minutes, and asked again at most each half minute.
  if (issuer.jwks_url !== undefined) return createRemoteJWKSet(new URL(issuer.jwks_url))
  if (issuer.jwks) return createLocalJWKSet(issuer.jwks as JSONWebKeySet)
  // The one key, whatever kid the token names: whoever pinned it decided which key it is.
  const key = issuer.public_jwk as JWK
  return () => key
}

function claimedIssuer(token: string): string {
  try {
    return decodeJwt(token).iss ?? ''
  } catch (cause) {
    throw unauthorized(cause)
  }
}

/** The highest role that the token's claim means. Throws `forbidden` when it means none and nobody has one by default. */
function roleOf(payload: JWTPayload, { role_claim, roles: meaning, default_role }: Issuer): Role {
  const values = role_claim === undefined ? [] : textsOf(readClaim(payload, role_claim))
  const given = values.flatMap((value) => {
    if (meaning) return Object.hasOwn(meaning, value) ? (meaning[value] ?? []) : []
    return roles.filter((role) => role === value)
  })
  const highest = roles.findLast((role) => given.includes(role)) ?? default_role
  if (highest) return highest
  throw new SyncError('forbidden', 'The token is good, and its owner has no role here.', {
    hint: 'Give them a role at the issuer, or set roles or default_role in PEOPLE_ISSUERS.',
  })
}

/** Claims with dots in their name, as URLs, come first. */
function readClaim(payload: JWTPayload, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path]
  let value: unknown = payload
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Record<string, unknown>)[name]
  }
  return value
}

function textsOf(claim: unknown): string[] {
  const values: unknown[] = Array.isArray(claim) ? claim : [claim]
  return values.filter((value) => typeof value === 'string')
}

/** The issuer did not give us its keys: that says nothing about the token, and may be over at the next call. */
function isKeysAway(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return true
  // jose's plain JOSEError: the keys' address answered something else than 200 and JSON.
  if (error instanceof errors.JOSEError) return error.code === 'ERR_JOSE_GENERIC'
  return !(error instanceof SyncError)
}

function keysAway(cause: unknown): SyncError {
  return new SyncError('internal', "The issuer's keys cannot be had.", {
    hint: 'Try again. If it stays, check jwks_url in PEOPLE_ISSUERS and that the control plane can reach it.',
    retryable: true,
    cause,
  })
}

function unauthorized(cause?: unknown): SyncError {
  return new SyncError('unauthorized', 'The JWT is not one that this control plane takes.', {
    hint: "Check the token's iss, aud, typ, alg, iat and exp against PEOPLE_ISSUERS, and the clocks.",
    cause,
  })
}
