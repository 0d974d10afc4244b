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

/** Opens lazily: nothing connects before the first query. `onError` hears of idle connections that broke. */
export function openDatabase(url: string, onError: (error: Error) => void): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: MAX_CONNECTIONS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'multiboard-control-plane',
  })
  pool.on('error', onError)
  return {
    query: async (sql, values = []) => await rowsOf(pool, sql, values),
    transaction: async (work) => await inTransaction(pool, work),
    [Symbol.asyncDispose]: async () => await pool.end(),
  }
}

async function inTransaction<Result>(pool: pg.Pool, work: (queries: Queries) => Promise<Result>): Promise<Result> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query('begin')
    const result = await work({ query: async (sql, values = []) => await rowsOf(client, sql, values) })
    await client.query('commit')
    return result
  } catch (error) {
    broken = await rollBack(client)
    throw error
  } finally {
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
