import pg from 'pg'

/*
 * The control plane's own PostgreSQL. Works through a transaction pooler: no LISTEN, no session locks, no session
 * settings, no named statements. A connection is held for one statement or one transaction, never between requests.
 */

export interface Queries {
  /** One statement with its values as $1, $2, … Answers the rows. */
  query: <Row extends object>(sql: string, values?: readonly unknown[]) => Promise<Row[]>
}

export interface Database extends Queries, AsyncDisposable {
  /** Runs `work` in one transaction on one connection: all of it or nothing. */
  transaction: <Result>(work: (transaction: Queries) => Promise<Result>) => Promise<Result>
}

// A function instance serves a few requests at a time; the pooler or max_connections is shared with its siblings.
const MAX_CONNECTIONS = 3
// On Vercel an open connection keeps the instance alive and billed; a second is enough to serve a burst from one.
const IDLE_TIMEOUT_MS = 1000
const CONNECT_TIMEOUT_MS = 5000
// Ours take milliseconds; a connection that hangs must not hold its request for ever.
const STATEMENT_TIMEOUT_MS = 15_000
// A function can be frozen in the middle of a transaction: its locks must not outlive this. `set local` ends with the
// transaction, so it is safe behind a transaction pooler.
const BEGIN = "begin; set local idle_in_transaction_session_timeout = '10s'; set local lock_timeout = '10s'"

/**
 * Opens lazily: nothing connects before the first query. `onError` hears of idle connections that broke; `onPool` is
 * given the pool before its first use, for a platform that wants to know when connections are idle.
 */
export function openDatabase(
  url: string,
  onError: (error: Error) => void,
  onPool: (pool: pg.Pool) => void = () => undefined,
): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: MAX_CONNECTIONS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
    application_name: 'multiboard-control-plane',
  })
  pool.on('error', onError)
  onPool(pool)
  return {
    query: async (sql, values = []) => await rowsOf(pool, sql, values),
    transaction: async (work) => await inTransaction(pool, work),
    [Symbol.asyncDispose]: async () => await pool.end(),
  }
}

async function inTransaction<Result>(pool: pg.Pool, work: (queries: Queries) => Promise<Result>): Promise<Result> {
  const client = await pool.connect()
  let broken: Error | undefined
  // A client in use tells twice that its connection broke: by its query, which is how we hear of it, and by this event,
  // which would end the process if nobody listened.
  const heard = (error: Error): void => void (broken = error)
  client.on('error', heard)
  try {
    await client.query(BEGIN)
    const result = await work({ query: async (sql, values = []) => await rowsOf(client, sql, values) })
    await client.query('commit')
    return result
  } catch (error) {
    broken ??= await rollBack(client)
    throw error
  } finally {
    client.off('error', heard)
    client.release(broken)
  }
}

/** Answers why the connection must not be used again, if it must not. */
async function rollBack(client: pg.PoolClient): Promise<Error | undefined> {
  try {
    await client.query('rollback')
    return undefined
  } catch (error) {
    return error instanceof Error ? error : new Error('rollback failed')
  }
}

async function rowsOf<Row extends object>(
  on: pg.Pool | pg.PoolClient,
  sql: string,
  values: readonly unknown[],
): Promise<Row[]> {
  // node-postgres types rows as any; the callers name the columns of their own statement.
  const { rows }: { rows: Row[] } = await on.query<Row>(sql, [...values])
  return rows
}

/** True for PostgreSQL's unique_violation on this index. */
export function violates(error: unknown, index: string): boolean {
  return error instanceof pg.DatabaseError && error.code === '23505' && error.constraint === index
}
