import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createMiddleware } from 'hono/factory'

/** What each may do includes what the one before may: see; ask for jobs and stop them; manage agents, tokens and audit. */
export const roles = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof roles)[number]

/** Who asks, proven. */
export interface Person {
  /** For `requested_by` and the audit: `admin`, `token:<label>`, or the subject of a JWT. */
  name: string
  role: Role
  via: 'admin-token' | 'token' | 'jwt' | 'session'
}

export interface PersonEnv {
  Variables: { person: Person }
}

/** Lets through who has at least this role. After requirePerson. Throws `forbidden`. */
export function requireRole(role: Role) {
  return createMiddleware<PersonEnv>(async function atLeast(c, next) {
    if (roles.indexOf(c.get('person').role) < roles.indexOf(role)) {
      throw new SyncError('forbidden', `This needs the role ${role}.`, {
        hint: 'Ask an admin for a token with that role.',
      })
    }
    await next()
  })
}
