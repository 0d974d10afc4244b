import { timingSafeEqual } from 'node:crypto'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { ControlPlane } from '../control-plane.ts'
import { sha256 } from './api-token.ts'
import { findToken } from './find-token.ts'
import { notePeople } from './note-people.ts'
import type { Person } from './person.ts'
import { makeJwtVerifier } from './verify-jwt.ts'

export interface Proven {
  person: Person
  /** When what proves it runs out; the admin token never does. */
  expiresAt?: Date
  /** The id of the API token. */
  token?: string
}

export type Prover = (bearer: string) => Promise<Proven>

/**
 * Who a bearer token belongs to: the admin token, an API token, or a JWT of an issuer we know. One query at most.
 * A watcher is not noted as
 * somebody who is here. Throws `unauthorized`, the same for what is unknown, wrong, expired and revoked; `forbidden` for a person without role.
 */
export function makeProver(
  { adminToken, database, issuers = [] }: ControlPlane,
  { isWatcher = false }: { isWatcher?: boolean } = {},
): Prover {
  const expected = adminToken === undefined ? undefined : sha256(adminToken)
  const verifyJwt = makeJwtVerifier(issuers)
  return async (bearer) => {
    // Equal lengths by hashing, compared in constant time: neither length nor prefix of the token can be measured.
    if (expected && timingSafeEqual(sha256(bearer), expected)) {
      if (!isWatcher) await database.query(notePeople)
      return { person: { name: 'admin', role: 'admin', via: 'admin-token' } }
    }
    if (bearer.startsWith('mbs_')) {
      const token = await findToken(database, bearer, { isWatcher })
      if (!token) throw unauthorized()
      const person = { name: `token:${token.label}`, role: token.role, via: 'token' } as const
      return { person, expiresAt: token.expires_at, token: token.id }
    }
    if (bearer.split('.').length !== 3 || issuers.length === 0) throw unauthorized()
    const { expiresAt, ...person } = await verifyJwt(bearer)
    if (!isWatcher) await database.query(notePeople)
    return { person, expiresAt }
  }
}

export function unauthorized(): SyncError {
  return new SyncError('unauthorized', 'The request carries no valid token.', {
    hint: 'Send the header "authorization: Bearer <token>"; an admin makes tokens with POST /v1/tokens.',
  })
}
