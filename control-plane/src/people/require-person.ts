import { createMiddleware } from 'hono/factory'
import type { ControlPlane } from '../control-plane.ts'
import { checkOrigin, originOf } from './check-origin.ts'
import { findSession } from './find-session.ts'
import { requireRole, type Person, type PersonEnv } from './person.ts'
import { makeProver, unauthorized, type Prover } from './prove-person.ts'
import { roleFor } from './role-for.ts'
import { readSessionCookie } from './session-cookie.ts'

/**
 * Lets through who proves who they are, by a bearer token or by the cookie of a session, and has the role that the call
 * needs. Remembers that people are here, so that agents poll faster. A caller proven before, by a stream's ticket, is
 * taken as they are.
 */
export function requirePerson(control: ControlPlane) {
  return requireProof(control, makeProver(control))
}

/** The same for a program that only watches: it asks each half minute, and agents do not poll faster for it. */
export function requireWatcher(control: ControlPlane) {
  return requireProof(control, makeProver(control, { isWatcher: true }))
}

function requireProof(control: ControlPlane, prove: Prover) {
  return createMiddleware<PersonEnv>(async function person(c, next) {
    const proven = (c.get('person') as Person | undefined) ?? (await callerOf(c.req.raw, readCookie(c)))
    requireRole(proven, roleFor(c.req.method, c.req.path))
    c.set('person', proven)
    await next()
  })

  function readCookie(c: Parameters<typeof readSessionCookie>[0]): string | undefined {
    return readSessionCookie(c, control.origin)
  }

  /** The header counts before the cookie: who sends one means it, and no other site can make a browser send it. */
  async function callerOf(request: Request, cookie: string | undefined): Promise<Person> {
    const authorization = request.headers.get('authorization')
    if (authorization !== null) return (await prove(bearerOf(authorization))).person
    if (cookie === undefined) throw unauthorized()
    checkOrigin(originOf(request), control.origin)
    const session = await findSession(control.database, cookie, control.adminToken)
    if (!session) throw unauthorized()
    return { name: session.subject, role: session.role, via: 'session' }
  }
}

function bearerOf(authorization: string): string {
  const [scheme, token] = authorization.split(' ')
  if (scheme?.toLowerCase() !== 'bearer' || !token) throw unauthorized()
  return token
}
