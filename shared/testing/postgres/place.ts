import type { Watchdog } from './start-watchdog.ts'
import type { SystemUser } from './unprivileged-user.ts'

/** Where a server lives, and as whom. */
export interface Place {
  dataDir: string
  native: string
  user: SystemUser | undefined
  watchdog: Watchdog
}

/** The server gets a session of its own, so that Ctrl-C reaches us and we decide, and an environment without PG… names. */
export function surroundings(user: SystemUser | undefined) {
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  return { cwd: '/', env, detached: true, ...user }
}
