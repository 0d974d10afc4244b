import { createHmac, randomBytes } from 'node:crypto'
import { sha256 } from './api-token.ts'

/** 256 bits; the cookie holds it, the database its hash. */
export function newSessionId(): string {
  return randomBytes(32).toString('base64url')
}

/**
 * What the database may know a session by. A session of the admin token is bound to that token: with another
 * ADMIN_TOKEN, or none, it is not found.
 */
export function sessionHashes(id: string, adminToken: string | undefined): Buffer[] {
  return adminToken === undefined ? [sha256(id)] : [sha256(id), adminSessionHash(id, adminToken)]
}

export function sessionHash(id: string, boundTo: string | undefined): Buffer {
  return boundTo === undefined ? sha256(id) : adminSessionHash(id, boundTo)
}

function adminSessionHash(id: string, adminToken: string): Buffer {
  return createHmac('sha256', adminToken).update(id).digest()
}
