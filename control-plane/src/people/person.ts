import { SyncError } from '@multiboard-sync/shared/sync-error'

/** What each may do includes what the one before may: see; ask for jobs and stop them; manage agents, tokens and audit. */
export const roles = ['viewer', 'operator', 'admin'] as const
export type Role = (typeof roles)[number]

/** Who asks, proven. */
export interface Person {
  /** For `requested_by` and the audit: `admin`, `token:<label>`, or `<issuer's name>:<subject>`. */
  name: string
  role: Role
  via: 'admin-token' | 'token' | 'jwt' | 'session' | 'ticket'
}

export interface PersonEnv {
  Variables: { person: Person }
}

/** Throws `forbidden` for who has less than this role. */
export function requireRole(person: Person, role: Role): void {
  if (roles.indexOf(person.role) >= roles.indexOf(role)) return
  throw new SyncError('forbidden', `This needs the role ${role}, and you are ${person.role}.`, {
    hint: `Ask an admin for a token with the role ${role}.`,
  })
}
