import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, inject, test } from 'vitest'
import { splitEntries, type DumpEntry } from '../src/postgres/dump-entries.ts'
import { dumpSchema, type DumpOptions } from '../src/postgres/dump-schema.ts'

/** The contract with pg_dump as WebAssembly 0.4.8: what we rely on, and what it gets wrong. */

const preData = ['--section=pre-data', '--no-owner', '--no-privileges']

async function dump(url: string, over: Partial<DumpOptions> = {}): Promise<string> {
  const options = { args: preData, signal: new AbortController().signal, ...over }
  return await dumpSchema({ name: 'production', url, viaProxy: false }, options)
}

async function failure(work: Promise<unknown>): Promise<SyncError> {
  const error = await work.then(
    () => 'nothing was thrown',
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof SyncError)) throw new Error(`not a SyncError: ${String(error)}`)
  return error
}

/** Before 15 the schema public has an entry, of comments only. */
function entriesOf(text: string): DumpEntry[] {
  return splitEntries(text).entries.filter((entry) => entry.type !== 'SCHEMA')
}

/** Sessions of dumps in this database; `waiting` for those that wait for a lock. */
async function dumpers(database: TestDatabase, waiting = false): Promise<number[]> {
  const client = await database.client()
  const { rows } = await client.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = $1 and application_name in ('multiboard-sync schema dump', 'pg_dump')
     and (not $2 or wait_event_type = 'Lock')`,
    [database.name, waiting],
  )
  await client.end()
  return rows.map((row) => row.pid)
}

const END_SQL = 'select pg_terminate_backend(pid) from unnest($1::int[]) as u(pid)'

/** A dump that waits for a table's lock, and how to let it go on. */
async function stuckDump(database: TestDatabase, over: Partial<DumpOptions> = {}) {
  const client = await database.client()
  await client.query('begin; lock table t')
  const failed = failure(dump(database.url, over))
  await expect.poll(async () => (await dumpers(database, true)).length, { timeout: 20_000 }).toBe(1)
  return { client, failed }
}

async function none(database: TestDatabase): Promise<void> {
  await expect.poll(async () => await dumpers(database), { timeout: 10_000 }).toEqual([])
}

test('The text is that of pg_dump 18.3, without what older servers and other tools than psql do not know', async () => {
  await using database = await createDatabase({
    sql: `create table "T;x" (a int default 1); comment on table "T;x" is E'a\\nb'`,
  })
  const text = await dump(database.url)
  const { preamble } = splitEntries(text)
  const entries = entriesOf(text)
  expect(preamble).toMatch(/^--\n-- PostgreSQL database dump\n--\n/)
  expect(preamble).toContain('-- Dumped by pg_dump version 18.3\n')
  expect(preamble).toContain(`SET client_encoding = 'UTF8';`)
  expect(text).not.toMatch(/transaction_timeout|\\(?:un)?restrict/)
  expect(entries.map(({ type, schema, name }) => [type, schema, name])).toEqual([
    ['TABLE', 'public', 'T;x'],
    ['COMMENT', 'public', 'TABLE "T;x"'],
  ])
  expect(entries[0]?.sql).toBe('CREATE TABLE public."T;x" (\n    a integer DEFAULT 1\n);')
  expect(text).toMatch(/\n-- PostgreSQL database dump complete\n--\n\n+$/)
  await none(database)
})

test('A setting of the same name in a text of the database stays', async () => {
  const body = 'SET transaction_timeout = 0;'
  await using database = await createDatabase({ sql: `create function f() returns void language sql as '\n${body}\n'` })
  expect(await dump(database.url)).toContain(`\n${body}\n`)
})

test('It works in plain Node, whose worker strips types itself', async () => {
  await using database = await createDatabase({ sql: 'create table plain ()' })
  const file = new URL('../src/postgres/dump-schema.ts', import.meta.url).href
  const script = `
    const { dumpSchema } = await import(${JSON.stringify(file)})
    const { signal } = new AbortController()
    const database = { name: 'a', url: process.env.TEST_URL, viaProxy: false }
    process.stdout.write(await dumpSchema(database, { args: ['--section=pre-data'], signal }))`
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    env: { PATH: process.env['PATH'], TEST_URL: database.url },
    timeout: 30_000,
  })
  expect(stdout).toContain('CREATE TABLE public.plain')
  expect(stderr).toBe('')
})

test('Queries beyond the buffer of 8 kB, which libpq sends in pieces, are answered', async () => {
  await using database = await createDatabase({
    sql: `do $$ begin for i in 1..1500 loop execute format('create table t_%s ()', i); end loop; end $$`,
  })
  expect(entriesOf(await dump(database.url))).toHaveLength(1500)
})

test('Responses larger than a packet arrive whole, and letters of several bytes with them', async () => {
  const text = 'ü☃𝄞'.repeat(50_000)
  await using database = await createDatabase({ sql: `create table t (); comment on table t is '${text}'` })
  expect(await dump(database.url)).toContain(text)
})

test.each([
  ['a body', `create function f() returns text language sql as 'select ''\n\\restrict x\n'''`],
  ['a comment', `create table t (); comment on table t is E'a\\n\\\\unrestrict'`],
  ['a line after a Unicode line end', `create table t (); comment on table t is E'a\\u2028\\\\Restrict b'`],
])('A line that begins with \\restrict in %s is refused, because it would be deleted in silence', async (_, sql) => {
  await using database = await createDatabase({ sql })
  const error = await failure(dump(database.url))
  expect(error.code).toBe('unsupported-object')
  expect(error.hint).not.toBe('')
})

test('The word elsewhere in a text does no harm', async () => {
  await using database = await createDatabase({
    sql: `create table t (a int); comment on table t is E'on delete restrict\\n no \\\\restrict\\nrestrict'`,
  })
  expect(await dump(database.url)).toContain('\n no \\restrict\nrestrict')
})

test('A missing privilege is named', async () => {
  await using database = await createDatabase({ sql: 'create table secrets ()' })
  const role = `reader_${randomBytes(4).toString('hex')}`
  const client = await database.client()
  await client.query(`create role ${role} login password 'x'`)
  try {
    const url = new URL(database.url)
    url.username = role
    url.password = 'x'
    const error = await failure(dump(url.href))
    expect(error.code).toBe('permission-denied')
    expect(error.message).toContain('permission denied for table secrets')
  } finally {
    await client.query(`drop role ${role}`)
  }
})

test('Bad options and unknown snapshots fail with the words of pg_dump', async () => {
  await using database = await createDatabase()
  const bad = await failure(dump(database.url, { args: ['--no-such-option'] }))
  expect(bad.code).toBe('query-failed')
  expect(bad.details.join()).toContain('no-such-option')
  expect(bad.details.join()).not.toContain('invalid binary')
  expect((await failure(dump(database.url, { args: ['--snapshot=00000001-00000001-1'] }))).code).toBe('query-failed')
  await none(database)
})

test('A snapshot that another session exports is what the dump sees', async () => {
  await using database = await createDatabase({ sql: 'create table before ()' })
  const client = await database.client()
  await client.query('begin isolation level repeatable read')
  const { rows } = await client.query<{ id: string }>('select pg_export_snapshot() as id')
  await (await database.client()).query('create table after ()')
  const text = await dump(database.url, { args: [...preData, `--snapshot=${rows[0]?.id}`] })
  expect(entriesOf(text).map((entry) => entry.name)).toEqual(['before'])
})

test('A dump whose server session is ended is made again', async () => {
  await using database = await createDatabase({ sql: 'create table t ()' })
  const client = await database.client()
  await client.query('begin; lock table t')
  const made = dump(database.url)
  await expect.poll(async () => (await dumpers(database, true)).length, { timeout: 20_000 }).toBe(1)
  await client.query(END_SQL, [await dumpers(database)])
  await client.query('rollback')
  expect(await made).toContain('CREATE TABLE public.t')
})

test('A dump whose server sessions are ended again and again fails as a lost connection', async () => {
  await using database = await createDatabase({ sql: 'create table t ()' })
  const { client, failed } = await stuckDump(database)
  let isOver = false
  const ended = failed.finally(() => {
    isOver = true
  })
  while (!isOver) {
    await client.query(END_SQL, [await dumpers(database)])
    await sleep(50)
  }
  expect(await ended).toMatchObject({ code: 'connection-lost', retryable: true })
})

test('Aborting ends a dump that waits, with the reason, and its session goes', async () => {
  await using database = await createDatabase({ sql: 'create table t ()' })
  const abort = new AbortController()
  const { client, failed } = await stuckDump(database, { signal: abort.signal })
  abort.abort(new SyncError('lease-lost', 'The lease was lost.'))
  expect((await failed).code).toBe('lease-lost')
  await client.query('rollback')
  await none(database)
})

test('A dump that takes longer than it may is given up, and its session goes', async () => {
  await using database = await createDatabase({ sql: 'create table t ()' })
  const client = await database.client()
  await client.query('begin; lock table t')
  const error = await failure(dump(database.url, { timeoutMs: 1500 }))
  expect(error).toMatchObject({ code: 'query-failed', retryable: true })
  expect(error.message).toContain('1.5 s')
  await client.query('rollback')
  await none(database)
})

test('Dumps side by side do not meet', async () => {
  await using one = await createDatabase({ sql: 'create table one ()' })
  await using two = await createDatabase({ sql: 'create table two ()' })
  const texts = await Promise.all([dump(one.url), dump(two.url), dump(one.url)])
  const names = texts.map((text) => entriesOf(text).map((entry) => entry.name))
  expect(names).toEqual([['one'], ['two'], ['one']])
})

test('On 18 it loses NO INHERIT of an own NOT NULL of a child, as pg_dump 18.3 did', async ({ skip }) => {
  if (inject('postgres').major < 18) skip('NOT NULL constraints have names since 18')
  await using database = await createDatabase({
    sql: 'create table p (a int); create table c (constraint cnn not null a no inherit) inherits (p)',
  })
  const child = splitEntries(await dump(database.url)).entries.find((entry) => entry.name === 'c')
  // When this fails, pg_dump was mended: take the finding out of docs and fingerprint tests.
  expect(child?.sql).not.toContain('NO INHERIT')
})
