import { createHash, timingSafeEqual } from 'node:crypto'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createMiddleware } from 'hono/factory'
import type { ControlPlane } from '../control-plane.ts'
import type { PersonEnv } from './person.ts'

/** Lets through who brings the admin token, and remembers that people are here, so that agents poll faster. */
export function requirePerson({ adminToken, database }: ControlPlane) {
  const expected = sha256(adminToken)
  return createMiddleware<PersonEnv>(async function person(c, next) {
    const [scheme, token] = c.req.header('authorization')?.split(' ') ?? []
    // Equal lengths by hashing, compared in constant time: neither length nor prefix of the token can be measured.
    if (scheme?.toLowerCase() !== 'bearer' || !token || !timingSafeEqual(sha256(token), expected)) {
      throw new SyncError('unauthorized', 'The request carries no valid token.', {
        hint: 'Send the header "authorization: Bearer <ADMIN_TOKEN>".',
      })
    }
    c.set('person', { name: 'admin', role: 'admin', via: 'admin-token' })
    await database.query(notePeople)
    await next()
  })
}

// Written at most every half minute: reading a page must not cost a write each time.
const notePeople = `
  update multiboard.people_activity set at = now() where at < now() - interval '30 seconds'
`

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
