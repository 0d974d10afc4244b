import { openSession, type DatabaseUrl, type Session } from '../postgres/session.ts'

export interface InSessionsOptions {
  /** Shown in pg_stat_activity. */
  purpose: string
  /** Sessions at the same time, each with a connection of its own. */
  connections: number
  signal: AbortSignal
}

/**
 * Works through the items in their order, several at once, each in a session of its own outside any transaction. The
 * first failure cuts the other sessions and is thrown.
 */
export async function inSessions<T>(
  database: DatabaseUrl,
  { purpose, connections, signal }: InSessionsOptions,
  items: T[],
  work: (session: Session, item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController()
  const either = AbortSignal.any([signal, failed.signal])
  const queue = items.values()
  const takeTurns = async (): Promise<void> => {
    let next = queue.next()
    if (next.done) return
    let session: Session | undefined
    try {
      session = await openSession(database, { purpose, signal: either })
      for (; !next.done; next = queue.next()) {
        either.throwIfAborted()
        await work(session, next.value, either)
      }
      await session.close()
    } catch (error) {
      // A COPY that was stopped leaves its connection unusable.
      session?.destroy()
      failed.abort(error)
      throw error
    }
  }
  const workers = Array.from({ length: Math.min(Math.max(1, connections), items.length) }, takeTurns)
  const lost = (await Promise.allSettled(workers)).find((result) => result.status === 'rejected')
  if (lost) throw signal.aborted ? lost.reason : failed.signal.reason
}
