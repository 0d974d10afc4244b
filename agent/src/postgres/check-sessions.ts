import { SyncError } from '@multiboard-sync/shared/sync-error'
import { openSession, type DatabaseUrl, type Session } from './session.ts'

/**
 * Whether a session stays on one server connection. connect() sees a pooler by the process id that it announces, unless
 * via_proxy says that ids may differ; a pooler in transaction mode then shows itself when somebody else takes the
 * connection between two statements. Throws `database-pooler`.
 */
export async function checkSessions(database: DatabaseUrl, session: Session, signal: AbortSignal): Promise<void> {
  if (!database.viaProxy) return
  const before = await readPid(session)
  await using other = await openSession(database, { purpose: 'doctor', signal, readOnly: true })
  // A transaction keeps the connection, so that the first session, had it let go of it, gets another one.
  await other.run('begin')
  const between = await readPid(other)
  const after = await readPid(session)
  await other.run('rollback')
  if (before === after && between !== before) return
  throw new SyncError('database-pooler', `The URL of the database ${database.name} leads to a connection pooler.`, {
    hint: 'via_proxy is only for proxies that keep one server connection for one client: use the direct URL, or the session mode of the pooler.',
  })
}

async function readPid(session: Session): Promise<number | undefined> {
  const [row] = await session.query<{ pid: number }>('select pg_backend_pid() as pid')
  return row?.pid
}
