import { SyncError, type SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import { z } from 'zod'
import { conditionName } from './pg-condition.ts'

/*
 * Turns what node-pg throws into SyncErrors that may leave the agent.
 *
 * Promises: SQLSTATE, its condition name and the names of table, column and constraint are kept. Never: the server's
 * `detail`, `where` or `hint`, which hold row values, and its message, except for the few conditions whose messages
 * PostgreSQL itself makes of object names alone. The thrown error is the cause, for the agent's own log.
 */

/** What node-pg puts on a server's error; libpq's protocol fields under node-pg's names. */
const serverErrorSchema = z.object({
  code: z.string().regex(/^[0-9A-Z]{5}$/),
  message: z.string().optional().catch(undefined),
  schema: z.string().optional().catch(undefined),
  table: z.string().optional().catch(undefined),
  column: z.string().optional().catch(undefined),
  constraint: z.string().optional().catch(undefined),
  where: z.string().optional().catch(undefined),
})
type ServerError = z.infer<typeof serverErrorSchema>

/**
 * Conditions whose messages hold names only (`relation "public.x" does not exist`). A user's function may raise the same
 * conditions with any text, but then the error has a `where`.
 */
const messagesOfNames = new Set([
  '0A000', // extension "x" is not available
  '2BP01', // cannot drop table x because other objects depend on it
  '3F000', // schema "x" does not exist
  '42501', // permission denied for table x
  '42701',
  '42703',
  '42704',
  '42710',
  '42723',
  '42804',
  '42809',
  '42830',
  '42883',
  '42P01',
  '42P06',
  '42P07',
  '42P16',
])
const messageMaxLength = 400

/** node-pg's and Node's words for a connection that is no more. */
const lostCodes = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED', 'ENOTCONN', 'ERR_STREAM_DESTROYED'])
const lostMessages = /^(Connection terminated|Client (was closed|has encountered a connection error)|Connection ended)/

/**
 * `doing` says what was attempted, beginning with a participle: "copying public.Component". A SyncError stays what it is.
 * Codes of SQLSTATEs: PostgreSQL documentation, Appendix A.
 */
export function fromPgError(thrown: unknown, doing: string): SyncError {
  if (thrown instanceof SyncError) return thrown
  const server = serverErrorSchema.safeParse(thrown)
  if (server.success && !lostCodes.has(server.data.code)) return fromServerError(server.data, doing, thrown)
  if (isConnectionLoss(thrown)) return connectionLost(doing, thrown)
  return new SyncError('query-failed', `PostgreSQL's client failed while ${doing}.`, {
    hint: "See the agent's own log for the cause.",
    cause: thrown,
  })
}

/** True for errors of node-pg or Node that mean: this connection is gone. */
function isConnectionLoss(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false
  return ('code' in thrown && lostCodes.has(String(thrown.code))) || lostMessages.test(thrown.message)
}

export function connectionLost(doing: string, cause: unknown): SyncError {
  return new SyncError('connection-lost', `The connection to the database was lost while ${doing}.`, {
    hint: 'Check the network between the agent and the database, and whether the server was restarted.',
    retryable: true,
    cause,
  })
}

interface Kind {
  code: SyncErrorCode
  hint: string
  retryable?: boolean
}

function kindOf(sqlState: string): Kind {
  switch (sqlState) {
    case '28000':
    case '28P01':
      return { code: 'database-auth', hint: "Check the user name and the password in the database's URL." }
    case '3D000':
      return { code: 'database-missing', hint: "Check the database's name at the end of its URL, or create it." }
    case '57P03':
      return {
        code: 'database-unreachable',
        hint: 'The server accepts no connections at the moment. Try again later.',
        retryable: true,
      }
    case '53300':
      return {
        code: 'database-unreachable',
        hint: "All connections of the server or the role are taken. Lower limits.connections_per_database in agent.yaml, raise the server's max_connections, or try again later.",
        retryable: true,
      }
    case '57P01':
    case '57P02':
    case '57P04':
    case '57P05':
    case '25P03':
    case '25P04':
      return {
        code: 'connection-lost',
        hint: 'The server ended the connection: it was restarted, or somebody or a timeout ended the session.',
        retryable: true,
      }
    case '42501':
      return {
        code: 'permission-denied',
        hint: "Give the database's user this right, or use the owner of the objects.",
      }
    case '25006':
      return { code: 'database-read-only', hint: 'Use the URL of the primary server; a standby cannot be written to.' }
    case '55P03':
    case '40P01':
    case '40001':
    case '57014':
      return {
        code: 'lock-timeout',
        hint: 'Other sessions hold locks on these tables. Try again when long transactions have ended.',
        retryable: true,
      }
    case '53100':
      return { code: 'disk-full', hint: 'Free space on the disk of the database server.' }
    case '53200':
      return {
        code: 'query-failed',
        hint: 'The server is out of (shared) memory. With thousands of tables raise max_locks_per_transaction.',
      }
  }
  if (sqlState.startsWith('08')) {
    return { code: 'connection-lost', hint: 'Check the network between the agent and the database.', retryable: true }
  }
  if (sqlState.startsWith('23')) {
    return { code: 'constraint-violated', hint: 'Look at the rows that this constraint speaks of.' }
  }
  return { code: 'query-failed', hint: "Look the SQLSTATE up in PostgreSQL's Appendix A, or see the agent's own log." }
}

function fromServerError(error: ServerError, doing: string, cause: unknown): SyncError {
  const { code, hint, retryable = false } = kindOf(error.code)
  const table = error.table === undefined ? undefined : [error.schema, error.table].filter(Boolean).join('.')
  const about = [
    ['table', table],
    ['column', error.column],
    ['constraint', error.constraint],
    ['line', /^COPY .+?, line (\d+)/m.exec(error.where ?? '')?.[1]],
  ].filter(([, name]) => name !== undefined)
  const names = about.map(([what, name]) => `, ${what} ${name}`).join('')
  const said = saysNamesOnly(error) ? `: ${(error.message ?? '').slice(0, messageMaxLength)}` : ''
  const message = `PostgreSQL reported ${conditionName(error.code)} (${error.code}) while ${doing}${names}${said}`
  return new SyncError(code, message.endsWith('.') ? message : `${message}.`, { hint, retryable, cause })
}

function saysNamesOnly({ code, message, where }: ServerError): boolean {
  return messagesOfNames.has(code) && where === undefined && message !== undefined
}
