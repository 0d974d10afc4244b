import type { Session } from '../postgres/session.ts'

/** Managed hosts end idle transactions after a minute or less, and with it the snapshot that the rest is compared with. */
const PING_MS = 10_000

/** Keeps a session's transaction from looking idle while nobody else asks it anything. Ends when it is disposed of. */
export function keepAwake(session: Session): AsyncDisposable {
  let ping: Promise<void> | undefined
  const timer = setInterval(() => {
    ping ??= session.query('select 1').then(
      () => void (ping = undefined),
      // A session that is lost says so at its next query; the ping itself has nobody to tell.
      () => clearInterval(timer),
    )
  }, PING_MS)
  return {
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer)
      await ping
    },
  }
}
