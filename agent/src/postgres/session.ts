import { retry } from '@multiboard-sync/shared/retry'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type pg from 'pg'
import { canceled } from './canceled.ts'
import { checkPinned } from './check-pinned.ts'
import { connect, cut, endThere, isCutShort, lookAt, type DatabaseUrl } from './connect.ts'
import { connectionLost, fromPgError } from './pg-error.ts'
import { watchLine } from './watch-line.ts'

export type { DatabaseUrl } from './connect.ts'

/*
 * One connection to one database, the same on both ends of a copy.
 *
 * Promises: settings under which a value's text is the same on source and target; errors as SyncErrors without values;
 * aborting the signal ends the connection at once, in the middle of anything; a connection that breaks while it is made is
 * made again; one that is dead without a word is found so within minutes, and then is as if cut. Never: retries or reconnects
 * once it is open (a lost session has lost its snapshot and its locks), or waits for a lock longer than lockTimeoutMs unless
 * a caller says so.
 */

export interface Session extends AsyncDisposable {
  /** For COPY streams. Its errors go through fromPgError. */
  readonly client: pg.Client
  /** The agent's name for the database. */
  readonly database: string
  /** server_version_num: 180004. */
  readonly serverVersion: number
  readonly backendPid: number
  /** One statement. int8 and numeric arrive as strings, "char" and name as strings, timestamps as Date. */
  query<Row extends object>(sql: string, values?: unknown[]): Promise<Row[]>
  /** A simple query: may hold many statements, which then are one transaction unless they say otherwise. */
  run(sql: string): Promise<void>
  /** Polite end; answers once the server has let go. Twice is once. */
  close(): Promise<void>
  /** Cuts the socket: the only way to stop a COPY TO. */
  destroy(): void
}

export interface SessionOptions {
  /** Shown in pg_stat_activity: `multiboard-sync <purpose>`. */
  purpose: string
  signal: AbortSignal
  /** The server refuses writes in this session. */
  readOnly?: boolean
  lockTimeoutMs?: number
  /** In the middle of a job: a server that is away, starting up or full is waited for, some seconds. */
  patient?: boolean
  /** For tests: how long a line may be silent before it is asked whether the server still works; see watch-line.ts. */
  silenceMs?: number
}

/** Long enough for a short transaction of somebody else, short enough not to make others queue behind us. */
const defaultLockTimeoutMs = 5_000
/** A server that is alive answers a Terminate at once. */
const closeTimeoutMs = 5_000

/** A bad line may cut twice in a row; a server that restarts is back within the second. */
const cutShortRetry = { attempts: 4, firstDelayMs: 200, maxDelayMs: 1_000 }
const patientRetry = { attempts: 6, firstDelayMs: 500, maxDelayMs: 5_000 }

/** Opens a session. Throws as connect() and checkPinned() do. */
export async function openSession(database: DatabaseUrl, options: SessionOptions): Promise<Session> {
  const { signal, patient = false } = options
  try {
    // Nothing is held before it stands: to try again loses nothing.
    const outcome = await retry({ signal, ...(patient ? patientRetry : cutShortRetry) }, async () => {
      try {
        return { session: await openOnce(database, options) }
      } catch (thrown) {
        if (patient || isCutShort(thrown)) throw thrown
        return { thrown }
      }
    })
    if (outcome.session) return outcome.session
    throw outcome.thrown
  } catch (error) {
    throw signal.aborted ? canceled(signal) : error
  }
}

async function openOnce(database: DatabaseUrl, options: SessionOptions): Promise<Session> {
  const { signal, purpose } = options
  const connected = await connect(database, purpose, signal)
  const { client, backendPid, serverVersion, broken } = connected
  const doing = `working in the database ${database.name}`
  let closing: Promise<void> | undefined
  let isCut = false
  const watch = watchLine(client, {
    look: async () => await lookAt(database, connected, signal),
    endThere: async () => await endThere(database, connected, signal),
    cut: () => cut(client),
    ...(options.silenceMs === undefined ? {} : { silenceMs: options.silenceMs }),
  })

  const destroy = () => {
    isCut = true
    watch.end()
    signal.removeEventListener('abort', destroy)
    cut(client)
  }
  signal.addEventListener('abort', destroy, { once: true })

  const ask = async <T>(work: () => Promise<T>): Promise<T> => {
    if (signal.aborted) throw canceled(signal)
    if (isCut || broken() !== undefined) throw connectionLost(doing, broken())
    try {
      return await work()
    } catch (error) {
      if (signal.aborted) throw canceled(signal)
      // The server's own last words (57P01) say more than the closed socket that follows them.
      throw fromPgError(error, doing)
    }
  }
  const run = async (sql: string) => await ask(async () => void (await client.query(sql)))
  const end = async () => {
    watch.end()
    signal.removeEventListener('abort', destroy)
    if (isCut || broken() !== undefined) return cut(client)
    const timer = setTimeout(() => cut(client), closeTimeoutMs)
    try {
      await client.end()
    } finally {
      clearTimeout(timer)
    }
  }
  const session: Session = {
    client,
    database: database.name,
    serverVersion,
    backendPid,
    query: async <Row extends object>(sql: string, values: unknown[] = []) =>
      await ask(async () => (await client.query<Row>(sql, values)).rows),
    run,
    close: async () => await (closing ??= end()),
    destroy,
    [Symbol.asyncDispose]: async () => await (closing ??= end()),
  }
  try {
    await run(settings(purpose, serverVersion, options))
    if (serverVersion >= 140_000) await noticeOurEnd(session)
    await checkPinned(session, database)
    return session
  } catch (error) {
    destroy()
    throw error
  }
}

/**
 * How soon a server notices that our machine is gone while it waits for us, and frees our locks: after a minute, not after
 * the two hours of most systems. On a Unix socket they mean nothing. Not tcp_user_timeout: it would also end a COPY that
 * we hold back.
 */
const keepAlives = [
  'set tcp_keepalives_idle = 30',
  'set tcp_keepalives_interval = 10',
  'set tcp_keepalives_count = 3',
] as const

/** Names and SQL values of what the text of a value depends on. */
export const valueSettings: readonly (readonly [name: string, value: string])[] = [
  ['datestyle', `'ISO'`],
  ['intervalstyle', `'postgres'`],
  ['extra_float_digits', '1'],
  ['timezone', `'UTC'`],
  ['bytea_output', `'hex'`],
  ['xmlbinary', `'base64'`],
  ['xmloption', `'content'`],
  ['lc_monetary', `'C'`],
]

/**
 * What makes text the same on both ends (PostgreSQL documentation, 20.11), and what keeps a role's or database's own
 * settings from stopping us. One simple query.
 */
function settings(purpose: string, serverVersion: number, options: SessionOptions): string {
  const lockTimeoutMs = Math.round(options.lockTimeoutMs ?? defaultLockTimeoutMs)
  // application_name is cut at 63 bytes by the server; anything but plain letters would have to be quoted.
  const name = `multiboard-sync ${purpose.replaceAll(/[^\w .:-]/g, '_')}`
  return [
    // First: a database's own may be shorter than what follows takes.
    `set statement_timeout = 0`,
    `set application_name = '${name}'`,
    `set client_encoding = 'UTF8'`,
    ...valueSettings.map(([name, value]) => `set ${name} = ${value}`),
    `set standard_conforming_strings = on`,
    `set quote_all_identifiers = off`,
    `set array_nulls = on`,
    `set search_path = ''`,
    // Fails loudly instead of copying or counting the rows that a policy lets through.
    `set row_security = off`,
    `set check_function_bodies = off`,
    // Compiling our long catalogue queries takes longer than running them.
    `set jit = off`,
    // Concurrent scans would start in the middle of a table: same rows, another order in every archive.
    `set synchronize_seqscans = off`,
    // What is compared under locks must be the catalogue as it is then, and not as it was when the transaction began.
    `set default_transaction_isolation = 'read committed'`,
    // A job that is told as done is done, also when the server crashes the moment after.
    `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'`,
    // As a replica the server would not check foreign keys. Only some roles may set it, so only where it is needed.
    `select set_config('session_replication_role', 'origin', false)
     where current_setting('session_replication_role') <> 'origin'`,
    `set lock_timeout = ${lockTimeoutMs}`,
    `set idle_in_transaction_session_timeout = 0`,
    ...keepAlives,
    ...(serverVersion >= 140_000 ? [`set idle_session_timeout = 0`] : []),
    ...(serverVersion >= 170_000 ? [`set transaction_timeout = 0`] : []),
    ...(options.readOnly ? [`set default_transaction_read_only = on`] : []),
  ].join(';\n')
}

/** How soon a server notices in the middle of a long statement that we are gone, and frees its locks. */
const connectionCheckMs = 2_000

/** Not every platform of a server can do this (22023); there the statement in hand is run to its end. */
async function noticeOurEnd(session: Session): Promise<void> {
  try {
    await session.run(`set client_connection_check_interval = ${connectionCheckMs}`)
  } catch (error) {
    if (!(error instanceof SyncError) || error.code !== 'query-failed') throw error
  }
}
