import type { Role } from './person.ts'

/*
 * Who may call what, for every route of people. Fail closed: what is not listed here needs a viewer to be read and an
 * admin to be changed, so that a new route is never open by being forgotten.
 */

const rules: readonly { method: string; path: RegExp; role: Role }[] = [
  { method: 'POST', path: /^\/v1\/jobs$/, role: 'operator' },
  { method: 'POST', path: /^\/v1\/jobs\/[^/]+\/(cancel|undo)$/, role: 'operator' },
  // A ticket shows what its holder can see anyway.
  { method: 'POST', path: /^\/v1\/jobs\/[^/]+\/stream-ticket$/, role: 'viewer' },
  { method: 'POST', path: /^\/v1\/policy\/preview$/, role: 'viewer' },
  // Whoever is logged in may log out.
  { method: 'DELETE', path: /^\/v1\/session$/, role: 'viewer' },
  { method: 'GET', path: /^\/v1\/(tokens|audit|enrollments)(\/|$)/, role: 'admin' },
]

/** The least role that a call needs; `path` begins with `/v1/` or is `/metrics`, its parameters may be filled in or not. */
export function roleFor(method: string, path: string): Role {
  const asked = method === 'HEAD' ? 'GET' : method
  const rule = rules.find((candidate) => candidate.method === asked && candidate.path.test(path))
  return rule?.role ?? (asked === 'GET' ? 'viewer' : 'admin')
}
