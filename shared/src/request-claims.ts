import { createHash } from 'node:crypto'

/** What a signed request says (signed-request.ts tells the rest), for signers with and without a library. */

export const REQUEST_SCHEME = 'MBS-JWS'
export const REQUEST_ALGORITHM = 'EdDSA'
export const REQUEST_TYPE = 'multiboard-sync-request+jwt'
export const REQUEST_MAX_AGE_S = 60

export interface RequestFacts {
  method: string
  /** Path with query, as sent: `/v1/agent/poll`. */
  path: string
  /** The body's bytes as text; empty for none. */
  body: string
  /** The control plane's origin: `https://sync.example.com`. */
  origin: string
}

/** `now`: what `iat` tells. */
export function requestClaims({ method, path, body, origin }: RequestFacts, agent: string, jti: string, now: Date) {
  const iat = Math.floor(now.getTime() / 1000)
  return {
    htm: method,
    htu: path,
    bh: sha256(body),
    iss: agent,
    aud: origin,
    jti,
    iat,
    exp: iat + REQUEST_MAX_AGE_S,
  }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}
