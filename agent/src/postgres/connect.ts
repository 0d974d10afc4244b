import { SyncError } from '@multiboard-sync/shared/sync-error'
import pg from 'pg'
import { canceled } from './canceled.ts'
import { openSocket } from './open-socket.ts'
import { fromPgError } from './pg-error.ts'
import type { Believed } from './watch-line.ts'

/** A database as the agent knows it. The URL holds a password: it appears in no message, hint or detail. */
export interface DatabaseUrl {
  /** The agent's name for it: `production` for PRODUCTION_DATABASE_URL. */
  name: string
  url: string
  /** True when a proxy that keeps one server session for one client stands between, so that process ids differ. */
  viaProxy: boolean
  /** Which database it must be (checkPinned). */
  pinned?: DatabasePin
  /** Which ones it must not be: what other names are pinned to, server and database. */
  others?: readonly (DatabasePin & { name: string })[]
}

/** What is left out may be anything. */
export interface DatabasePin {
  systemIdentifier?: string | undefined
  databaseOid?: number | undefined
}

export interface Connected {
  client: pg.Client
  backendPid: number
  /** When the server began this session, as text that it takes for a timestamptz: process ids come again. */
  since: string
  /** server_version_num: 180004. */
  serverVersion: number
  /** ParameterStatus messages of the start: what libpq would remember. */
  parameters: Record<string, string>
  /** Undefined while the connection is whole. */
  readonly broken: () => unknown
}

/** A host that does not answer within this time is down; TLS and SCRAM over a slow line need two seconds. */
const connectTimeoutMs = 15_000
/** A firewall that drops idle connections in silence does so after some minutes. */
const keepAliveDelayMs = 30_000
/** The oldest version whose catalogues we read (13.0). */
const oldestServerVersion = 130_000

/**
 * Connects and looks whom it reached: a server of version 13 or newer, without a pooler in between (unless viaProxy).
 * Changes no setting. Tries once. Throws SyncError `config-invalid`, `database-unreachable`, `database-auth`,
 * `database-missing`, `database-pooler`, `database-version`, or what the signal was aborted with.
 */
export async function connect(database: DatabaseUrl, purpose: string, signal: AbortSignal): Promise<Connected> {
  if (signal.aborted) throw canceled(signal)
  const client = newClient(database, purpose)
  let broken: unknown
  client.on('error', (error) => (broken ??= error))
  const parameters: Record<string, string> = {}
  client.connection.on('parameterStatus', (message: { parameterName: string; parameterValue: string }) => {
    parameters[message.parameterName] = message.parameterValue
  })
  const stop = () => cut(client)
  signal.addEventListener('abort', stop, { once: true })
  try {
    await client.connect()
    const { rows } = await client.query<{ pid: number; version: number; since: string }>(
      `select pid, current_setting('server_version_num')::int as version,
              to_char(backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00' as since
       from pg_catalog.pg_stat_get_activity(pg_backend_pid())`,
    )
    const [row] = rows
    if (row === undefined) throw new Error('the first query answered nothing')
    refuseOthers(database, client, row)
    const { pid: backendPid, since, version: serverVersion } = row
    return { client, backendPid, since, serverVersion, parameters, broken: () => broken }
  } catch (error) {
    cut(client)
    if (signal.aborted) throw canceled(signal)
    throw fromConnectError(error, database)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/**
 * What the server believes of a session, asked over a connection of its own; undefined when no server answers. Throws
 * when one answers something else.
 */
export async function lookAt(
  database: DatabaseUrl,
  of: Pick<Connected, 'backendPid' | 'since'>,
  signal: AbortSignal,
): Promise<Believed | undefined> {
  let client: pg.Client | undefined
  try {
    ;({ client } = await connect(database, 'look', signal))
    const { rows } = await client.query<{ believed: Believed }>(
      `select case when wait_event_type = 'Client' or state like 'idle%' then 'waits' else 'works' end as believed
       from pg_catalog.pg_stat_get_activity($1) where backend_start = $2::timestamptz`,
      [of.backendPid, of.since],
    )
    return rows[0]?.believed ?? 'gone'
  } catch (error) {
    const { cause } = error instanceof SyncError ? error : { cause: error }
    const isAnswer = cause instanceof Error && 'severity' in cause
    if (isAnswer) throw error
    return undefined
  } finally {
    if (client) cut(client)
  }
}

/** Ends a session at its server, over a connection of its own. Throws as connect() does. */
export async function endThere(
  database: DatabaseUrl,
  { backendPid, since }: Pick<Connected, 'backendPid' | 'since'>,
  signal: AbortSignal,
): Promise<void> {
  const { client } = await connect(database, 'look', signal)
  try {
    const sql = `select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_get_activity($1)
                 where backend_start = $2::timestamptz`
    await client.query(sql, [backendPid, since])
  } finally {
    cut(client)
  }
}

/** True when the way broke while a connection was made, and not when nobody answers: then to try again is no waste of time. */
export function isCutShort(thrown: unknown): boolean {
  if (!(thrown instanceof SyncError)) return false
  if (thrown.code === 'connection-lost') return true
  const { cause } = thrown
  if (thrown.code !== 'database-unreachable' || !(cause instanceof Error)) return false
  const code = 'code' in cause ? String(cause.code) : ''
  return code === 'ECONNRESET' || code === 'EPIPE' || cause.message === 'Connection terminated unexpectedly'
}

/** Ends the connection at once, whatever it is doing. node-pg has no call for this. */
export function cut(client: pg.Client): void {
  client.connection.stream.destroy()
}

function newClient({ name, url }: DatabaseUrl, purpose: string): pg.Client {
  try {
    if (!/^postgres(ql)?:\/\//.test(url)) throw new Error('not a URL of PostgreSQL')
    return new pg.Client({
      connectionString: url,
      fallback_application_name: `multiboard-sync ${purpose}`,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: keepAliveDelayMs,
      stream: openSocket,
    })
  } catch (error) {
    throw new SyncError('config-invalid', `The URL of the database ${name} cannot be read.`, {
      hint: 'It has the form postgres://user:password@host:5432/database; percent-encode special characters.',
      cause: error,
    })
  }
}

function refuseOthers({ name, viaProxy }: DatabaseUrl, client: pg.Client, row: { pid: number; version: number }): void {
  // A pooler invents the process id it announces. node-pg keeps it without having a type for it.
  const announced = (client as pg.Client & { processID: number | null }).processID
  if (announced !== row.pid && !viaProxy) {
    throw new SyncError('database-pooler', `The URL of the database ${name} leads to a connection pooler.`, {
      hint: 'Use the direct URL of the database: usually port 5432 instead of 6543, a host without "-pooler", no pgbouncer=true. Set via_proxy in agent.yaml only for a proxy that keeps sessions apart.',
    })
  }
  if (row.version < oldestServerVersion) {
    const major = Math.floor(row.version / 10_000)
    throw new SyncError(
      'database-version',
      `The database ${name} runs PostgreSQL ${major}; 13 is the oldest supported.`,
      {
        hint: 'Upgrade the server.',
      },
    )
  }
}

function fromConnectError(thrown: unknown, { name }: DatabaseUrl): SyncError {
  const doing = `connecting to the database ${name}`
  const known = fromPgError(thrown, doing)
  if (known.code !== 'query-failed' && known.code !== 'connection-lost') return known
  const [why, hint] = unreachableReason(thrown)
  return new SyncError('database-unreachable', `The database ${name} cannot be reached: ${why}.`, {
    hint,
    retryable: true,
    cause: thrown,
  })
}

function unreachableReason(thrown: unknown): [string, string] {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  const message = thrown instanceof Error ? thrown.message : ''
  const place = "Check host and port in the database's URL"
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return ['its host name is not known', `${place}, and DNS.`]
  if (code === 'ECONNREFUSED') return ['nothing listens there', `${place}, and that the server runs.`]
  if (message === 'timeout expired' || code === 'ETIMEDOUT')
    return ['it does not answer', `${place}, and the firewall.`]
  if (message.includes('does not support SSL')) return ['it does not speak TLS', 'Remove sslmode from the URL.']
  if (/CERT|SELF_SIGNED|ERR_TLS|UNABLE_TO_/.test(code)) {
    return [
      `its certificate was not accepted (${code})`,
      'Add sslrootcert=<file> to the URL; sslmode=no-verify switches the check off.',
    ]
  }
  return [
    /^[0-9A-Z_]+$/.test(code) ? code : 'the connection broke while it was made',
    `${place}, and the server's log.`,
  ]
}
