import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { startPostgres, type PostgresServer } from '../testing/postgres.ts'
import { until, withDeadline } from '../testing/postgres/deadline.ts'
import { createDatabase, databaseUrl, templateDatabase } from '../testing/test-database.ts'

async function ask(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 })
  await client.connect()
  try {
    const { rows } = await withDeadline(sql, 20_000, client.query({ text: sql, rowMode: 'array' }))
    return rows.flat()
  } finally {
    await client.end()
  }
}

function alive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** A Node process that starts a server, says where, and then does `next`. */
async function holder(next: string) {
  const file = new URL('../testing/postgres.ts', import.meta.url).href
  const script = `
    const { startPostgres } = await import(${JSON.stringify(file)})
    const { pid, dataDir } = await startPostgres()
    process.stdout.write(JSON.stringify({ pid, dataDir }) + '\\n')
    process.stdin.once('data', () => { ${next} })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'ignore'] })
  const line = once(createInterface({ input: child.stdout }), 'line')
  const [text] = (await withDeadline('a server in another process', 50_000, line)) as [string]
  const held = JSON.parse(text) as { pid: number; dataDir: string }
  return { child, ...held }
}

test('The server of the run has the major version that was asked for and speaks UTF-8', async () => {
  const { major } = inject('postgres')
  expect(major).toBe(Number(process.env['PG_MAJOR'] || 18))
  const [version, encoding, collation, addresses, secret] = await ask(
    databaseUrl('postgres'),
    `select current_setting('server_version_num')::int / 10000, current_setting('server_encoding'), datcollate,
            current_setting('listen_addresses'), current_setting('password_encryption')
     from pg_database where datname = current_database()`,
  )
  expect([version, encoding, addresses, secret]).toEqual([major, 'UTF8', '127.0.0.1', 'scram-sha-256'])
  expect(collation).toMatch(/^C(\.UTF-?8)?$/i)
})

test('A wrong password is refused', async () => {
  const url = new URL(databaseUrl('postgres'))
  url.password = 'wrong'
  await expect(ask(url.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
})

test('Stopping a server ends its process and removes its folder, and twice is once', async () => {
  const server = await startPostgres({ settings: { max_connections: '12' } })
  expect(await ask(server.url('postgres'), 'show max_connections')).toEqual(['12'])
  expect(alive(server.pid)).toBe(true)
  await Promise.all([server.stop(), server.stop('immediate')])
  expect(alive(server.pid)).toBe(false)
  expect(existsSync(server.dataDir)).toBe(false)
})

test('A folder that was given is kept, and a second server finds in it what the first one wrote, even after a crash', async () => {
  const dataDir = await mkdtemp(join(process.getuid?.() === 0 ? '/var/tmp' : tmpdir(), 'kept-'))
  const folder = join(dataDir, 'data')
  try {
    await chmod(dataDir, 0o755)
    const use = async (work: (server: PostgresServer) => Promise<void>) => {
      const server = await startPostgres({ dataDir: folder, settings: { fsync: 'on', synchronous_commit: 'on' } })
      try {
        await work(server)
      } finally {
        await server.stop('immediate')
      }
    }
    await use(async (server) => void (await ask(server.url('postgres'), 'create table kept as select 7 as n')))
    await use(async (server) => expect(await ask(server.url('postgres'), 'select n from kept')).toEqual([7]))
  } finally {
    await rm(dataDir, { recursive: true, force: true })
  }
})

test('A server that cannot start says why, with the end of its log, and leaves nothing behind', async () => {
  const failing = startPostgres({ settings: { max_connections: 'many' } })
  await expect(failing).rejects.toThrow(/max_connections/)
  const unknown = startPostgres({ major: 12 })
  await expect(unknown).rejects.toThrow('no PostgreSQL 12 to start; PG_MAJOR may be one of 13, 14, 15, 16, 17, 18')
})

test.each([
  ['kill -9 of the process that started it', 'SIGKILL' as const, ''],
  ['SIGTERM that nobody handles', 'SIGTERM' as const, ''],
  ['SIGINT that nobody handles', 'SIGINT' as const, ''],
  ['process.exit()', undefined, 'process.exit(3)'],
  ['an error that nobody catches', undefined, 'throw new Error("uncaught")'],
])('After %s no server and no folder is left', async (_, signal, next) => {
  const { child, pid, dataDir } = await holder(next)
  expect(alive(pid)).toBe(true)
  const closed = once(child, 'close')
  if (signal === undefined) child.stdin.write('go\n')
  else child.kill(signal)
  await withDeadline('end of the process that holds the server', 10_000, closed)
  await until('the server is gone', 10_000, () => !alive(pid))
  await until('the folder is gone', 10_000, () => !existsSync(dataDir))
})

test('Databases come and go with their tests, and their clients are closed with them', async () => {
  const database = await createDatabase({ name: 'of "one" test', sql: 'create table t as select 1 as n; select 2' })
  const client = await database.client()
  expect((await client.query('select n from t')).rows).toEqual([{ n: 1 }])
  await database[Symbol.asyncDispose]()
  await expect(client.query('select 1')).rejects.toThrow(/terminat|closed|not queryable/i)
  expect(await ask(databaseUrl('postgres'), `select 1 from pg_database where datname = 'of "one" test'`)).toEqual([])
})

test('A database whose preparation fails is dropped again', async () => {
  await expect(createDatabase({ name: 'never', sql: 'select 1/0' })).rejects.toMatchObject({ code: '22012' })
  expect(await ask(databaseUrl('postgres'), `select 1 from pg_database where datname = 'never'`)).toEqual([])
})

test('A template is built once however many ask at the same time, and its clones do not see each other', async () => {
  let builds = 0
  const key = `rows ${Math.random()}`
  const build = async (database: { client(): Promise<pg.Client> }) => {
    builds += 1
    await (await database.client()).query('create table t as select generate_series(1, 3) as n')
  }
  const names = await Promise.all([1, 2, 3].map(async () => await templateDatabase(key, build)))
  expect(new Set(names).size).toBe(1)
  expect(builds).toBe(1)
  const [template] = names
  if (template === undefined) throw new Error('no template')
  await using one = await createDatabase({ template })
  await using other = await createDatabase({ template })
  await ask(one.url, 'delete from t')
  expect(await ask(other.url, 'select count(*)::int from t')).toEqual([3])
})

test('A template whose building fails is built anew by the next one to ask', async () => {
  const key = `fails once ${Math.random()}`
  const failing = templateDatabase(key, async () => await Promise.reject(new Error('not this time')))
  await expect(failing).rejects.toThrow('not this time')
  const template = await templateDatabase(key, async ({ url }) => void (await ask(url, 'create table t ()')))
  await using database = await createDatabase({ template })
  expect(await ask(database.url, `select to_regclass('t')::text`)).toEqual(['t'])
})
