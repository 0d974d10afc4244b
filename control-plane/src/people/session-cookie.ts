import type { Context } from 'hono'
import { deleteCookie, getCookie, setCookie } from 'hono/cookie'

export const SESSION_MAX_AGE_S = 12 * 3600

/** A browser takes `__Host-` from nobody but this very host over https: no sibling domain can plant a session. */
const SECURE_NAME = '__Host-multiboard'
/** For http on one's own machine, where browsers differ in whether they keep a Secure cookie. */
const LOOPBACK_NAME = 'multiboard'

/** Whether a session cookie can be kept safe at this origin: over https, or on one's own machine. */
export function sessionsPossible(origin: string): boolean {
  const { protocol, hostname } = new URL(origin)
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
}

export function readSessionCookie(c: Context, origin: string): string | undefined {
  return getCookie(c, nameFor(origin))
}

export function writeSessionCookie(
  c: Context,
  origin: string,
  { id, expiresAt }: { id: string; expiresAt: Date },
): void {
  setCookie(c, nameFor(origin), id, { ...attributes(origin), expires: expiresAt })
}

export function clearSessionCookie(c: Context, origin: string): void {
  deleteCookie(c, nameFor(origin), attributes(origin))
}

function nameFor(origin: string): string {
  return isSecure(origin) ? SECURE_NAME : LOOPBACK_NAME
}

function attributes(origin: string) {
  return { httpOnly: true, secure: isSecure(origin), sameSite: 'Lax', path: '/' } as const
}

function isSecure(origin: string): boolean {
  return origin.startsWith('https:')
}
