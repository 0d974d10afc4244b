import { createHash, randomBytes } from 'node:crypto'

import pg from 'pg'
import { inject } from 'vitest'

import type { ProvidedPostgres } from './global-setup.ts'
import { withDeadline } from './postgres/deadline.ts'

/*
 * Databases for one test each, on the server that global-setup.ts started. A template is built once for the whole run,
 * whichever worker process comes first, and cloned in some 30 ms.
 */

export interface TestDatabaseOptions {
  /** A database to clone; nobody may be connected to it. Default: an empty database. */
  template?: string
  /** Default: a random name. */
  name?: string
  /** Run in the new database, as one simple query. */
  sql?: string
}

export interface TestDatabase extends AsyncDisposable {
  readonly name: string
  readonly url: string
  /** A connected client, closed with the database unless the test has closed it before. */
  client(): Promise<pg.Client>
}

const connectTimeoutMs = 20_000
/** Cloning waits for a checkpoint on 13 and 14; building a large template is the slowest thing here. */
const statementTimeoutMs = 120_000
/** Our own number among the server's advisory locks. */
const templateLock = 7_305_001

export async function createDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const name = options.name ?? `test_${randomBytes(6).toString('hex')}`
  await maintain(
    `create database ${pg.escapeIdentifier(name)} template ${pg.escapeIdentifier(options.template ?? 'template0')}`,
  )
  const clients: pg.Client[] = []
  const database: TestDatabase = {
    name,
    url: databaseUrl(name),
    client: async () => {
      const client = await connect(name)
      clients.push(client)
      return client
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map(close))
      await maintain(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`)
    },
  }
  if (options.sql !== undefined) await runAlone(database, options.sql)
  return database
}

/**
 * Builds a database once for each key and test run, and answers its name for `createDatabase({ template })`. A build
 * that fails leaves nothing, and the next one to ask tries again. `build` must close what it opens itself.
 */
export async function templateDatabase(key: string, build: (database: TestDatabase) => Promise<void>): Promise<string> {
  const name = `template_${createHash('sha256').update(key).digest('hex').slice(0, 16)}`
  const keeper = await connect('postgres')
  try {
    const lock = keeper.query('select pg_advisory_lock($1, hashtext($2))', [templateLock, name])
    await withDeadline(`waiting for somebody who builds the template ${key}`, statementTimeoutMs, lock)
    const found = await keeper.query('select from pg_database where datname = $1', [name])
    if (found.rowCount === 1) return name
    // Built under another name: a worker that is killed half way must not leave something that looks finished.
    const building = `${name}_building`
    await keeper.query(`drop database if exists ${building} with (force)`)
    const database = await createDatabase({ name: building })
    try {
      await build(database)
      await keeper.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1', [building])
      await keeper.query(`alter database ${building} rename to ${name}`)
    } finally {
      await database[Symbol.asyncDispose]()
    }
    return name
  } finally {
    await close(keeper)
  }
}

/** The URL of a database on the run's server, as its superuser. */
export function databaseUrl(name: string): string {
  const { host, port, user, password } = provided()
  return `postgres://${user}:${password}@${host}:${port}/${encodeURIComponent(name)}`
}

function provided(): ProvidedPostgres {
  return inject('postgres')
}

async function connect(database: string): Promise<pg.Client> {
  const { host, port, user, password } = provided()
  const client = new pg.Client({
    host,
    port,
    user,
    password,
    database,
    connectionTimeoutMillis: connectTimeoutMs,
    application_name: 'test',
  })
  // A test that drops its database or stops its server ends this client too; its queries reject, which is enough.
  client.on('error', () => undefined)
  await client.connect()
  return client
}

async function close(client: pg.Client): Promise<void> {
  await withDeadline('closing a test client', connectTimeoutMs, client.end()).catch(() =>
    client.connection.stream.destroy(),
  )
}

async function maintain(sql: string): Promise<void> {
  const client = await connect('postgres')
  try {
    await withDeadline(sql, statementTimeoutMs, client.query(sql))
  } finally {
    await close(client)
  }
}

async function runAlone(database: TestDatabase, sql: string): Promise<void> {
  const client = await database.client()
  try {
    await withDeadline(`preparing ${database.name}`, statementTimeoutMs, client.query(sql))
  } catch (error) {
    await database[Symbol.asyncDispose]()
    throw error
  }
  await close(client)
}
