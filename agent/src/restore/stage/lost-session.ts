import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../../postgres/session.ts'

/** A backend ends within milliseconds, unless it is rolling back much or its disk is slow. */
const END_WITHIN_MS = 60_000
const FIRST_PAUSE_MS = 20
const MAX_PAUSE_MS = 1_000

/** A session's backend: process ids come again. */
export interface Backend {
  pid: number
  /** pg_stat_activity.backend_start, as text in UTC. */
  since: string
}

const backends = new WeakMap<Session, Backend>()

/** To be read while the session stands; asked once. */
export async function readBackend(session: Session): Promise<Backend> {
  const known = backends.get(session)
  if (known) return known
  const [row] = await session.query<Backend>(
    'select pid, backend_start::text as since from pg_catalog.pg_stat_activity where pid = pg_backend_pid()',
  )
  const backend = row ?? { pid: session.backendPid, since: '' }
  backends.set(session, backend)
  return backend
}

/**
 * After a connection broke its backend may live on, with its locks and an open transaction: it notices late, or not at all.
 * Ends it from another session and waits until it is gone: what it has done is then decided. Throws `connection-lost`.
 */
export async function endBackend(session: Session, lost: Backend, signal: AbortSignal): Promise<void> {
  const untilMs = performance.now() + END_WITHIN_MS
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2)) {
    const there = await session.query(
      `select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity
       where pid = $1 and backend_start::text = $2`,
      [lost.pid, lost.since],
    )
    if (there.length === 0) return
    if (performance.now() > untilMs) {
      throw new SyncError('connection-lost', 'A connection was lost, and the server does not end what it was doing.', {
        hint: `Look at the session with the process id ${lost.pid} in pg_stat_activity.`,
        retryable: true,
      })
    }
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
    signal.throwIfAborted()
  }
}
