import { SyncError } from '@multiboard-sync/shared/sync-error'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { createDatabase, databaseUrl } from '@multiboard-sync/shared/testing/test-database'
import { expect, inject, test } from 'vitest'
import { isSameDatabase, readIdentity } from '../src/postgres/identity.ts'
import { openSession, type Session } from '../src/postgres/session.ts'

const { major } = inject('postgres')
const never = () => new AbortController().signal

async function open(url: string, over: Partial<Parameters<typeof openSession>[1]> = {}): Promise<Session> {
  return await openSession({ name: 'staging', url, viaProxy: false }, { purpose: 'test', signal: never(), ...over })
}

async function failure(work: Promise<unknown>): Promise<SyncError> {
  const error = await work.then(
    () => 'nothing was thrown',
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof SyncError)) throw new Error(`not a SyncError: ${String(error)}`)
  return error
}

/** Everything of an error that leaves the agent. */
function said({ message, hint, details }: SyncError): string {
  return [message, hint, ...details].join('\n')
}

test('A session has the settings under which values have the same text everywhere', async () => {
  await using database = await createDatabase()
  await using session = await open(database.url)
  const names = ['DateStyle', 'IntervalStyle', 'TimeZone', 'extra_float_digits', 'bytea_output', 'search_path']
  const rows = await session.query<{ value: string }>(
    'select current_setting(name) as value from unnest($1::text[]) with ordinality as n(name, place) order by place',
    [[...names, 'row_security', 'statement_timeout', 'lock_timeout', 'application_name', 'jit']],
  )
  expect(rows.map((row) => row.value)).toEqual([
    'ISO, MDY',
    'postgres',
    'UTC',
    '1',
    'hex',
    '""',
    'off',
    '0',
    '5s',
    'multiboard-sync test',
    'off',
  ])
})

test("A role's or database's own settings and those in the URL do not reach our session", async () => {
  await using database = await createDatabase()
  const client = await database.client()
  await client.query(`alter database "${database.name}" set extra_float_digits = -5`)
  await client.query(`alter database "${database.name}" set statement_timeout = 40`)
  await client.query(`alter database "${database.name}" set search_path = evil`)
  await using session = await open(`${database.url}?options=-c%20timezone%3DAsia/Tokyo&application_name=other`)
  const [row] = await session.query(`select pi()::text as pi, current_setting('timezone') as zone,
    current_setting('application_name') as name, pg_sleep(0.06) is null as slept`)
  expect(row).toMatchObject({ pi: '3.141592653589793', zone: 'UTC', name: 'multiboard-sync test' })
})

test('int8 arrives as text, so that nothing is rounded', async () => {
  await using database = await createDatabase()
  await using session = await open(database.url)
  expect(await session.query('select 9007199254740993::int8 as n')).toEqual([{ n: '9007199254740993' }])
})

test('A read-only session cannot write, and the database is not called read-only for that', async () => {
  await using database = await createDatabase()
  await using session = await open(database.url, { readOnly: true })
  expect((await failure(session.run('create table t ()'))).code).toBe('database-read-only')
  expect(await readIdentity(session)).toMatchObject({ isReadOnly: false, isInRecovery: false, encoding: 'UTF8' })
})

test('A database that refuses writes by its own settings is called read-only', async () => {
  await using database = await createDatabase()
  await (await database.client()).query(`alter database "${database.name}" set default_transaction_read_only = on`)
  await using session = await open(database.url)
  expect((await readIdentity(session)).isReadOnly).toBe(true)
})

test('The same database is recognised under another URL, and another database of the same server is not it', async () => {
  await using one = await createDatabase()
  await using other = await createDatabase()
  const url = new URL(one.url)
  url.hostname = 'localhost'
  const identities = await Promise.all(
    [one.url, url.href, other.url].map(async (text) => {
      await using session = await open(text)
      return await readIdentity(session)
    }),
  )
  const [a, b, c] = identities
  if (a === undefined || b === undefined || c === undefined) throw new Error('three identities')
  expect(a.systemIdentifier).toMatch(/^\d{15,}$/)
  expect(isSameDatabase(a, b)).toBe(true)
  expect(isSameDatabase(a, c)).toBe(false)
})

test.each([
  ['a wrong password', (url: URL): unknown => (url.password = 'hunter2-wrong'), 'database-auth', false],
  ['an unknown user', (url: URL): unknown => (url.username = 'nobody'), 'database-auth', false],
  ['an unknown database', (url: URL): unknown => (url.pathname = '/absent'), 'database-missing', false],
  ['a port where nothing listens', (url: URL): unknown => (url.port = '1'), 'database-unreachable', true],
  ['an unknown host', (url: URL): unknown => (url.hostname = 'no-such-host.invalid'), 'database-unreachable', true],
  ['a server without TLS', (url: URL): unknown => (url.search = '?sslmode=verify-full'), 'database-unreachable', true],
] as const)('For %s the error has its code and neither URL nor password', async (_, change, code, retryable) => {
  const url = new URL(databaseUrl('postgres'))
  const password = url.password
  change(url)
  const error = await failure(open(url.href))
  expect(error).toMatchObject({ code, retryable })
  expect(error.hint).not.toBe('')
  for (const secret of [password, 'hunter2', 'postgres://', url.host]) expect(said(error)).not.toContain(secret)
})

test.each(['mysql://a:secret@b/c', 'secret', 'postgres://a:secret@b:port/c', ''])(
  'The URL %j is a configuration error',
  async (url) => {
    const error = await failure(open(url))
    expect(error.code).toBe('config-invalid')
    expect(said(error)).not.toContain('secret')
  },
)

test.each([
  ['a value that is no number', `select 'secret'::int`, 'query-failed', 'invalid_text_representation (22P02)'],
  [
    'a duplicate',
    `insert into s.t values (1, 'secret'), (1, 'secret')`,
    'constraint-violated',
    'table s.t, constraint t_pkey',
  ],
  ['a missing value', `insert into s.t values (2, null)`, 'constraint-violated', 'table s.t, column secretless'],
  ['a missing table', `select 'secret' from absent`, 'query-failed', 'relation "absent" does not exist'],
  [
    'a text of a function',
    `do $$ begin raise undefined_table using message = 'secret'; end $$`,
    'query-failed',
    '42P01',
  ],
  ['wrong SQL', `select 'secret' 'secret'`, 'query-failed', 'syntax_error (42601)'],
])('For %s the error names code and objects, never values', async (_, sql, code, words) => {
  await using database = await createDatabase({
    sql: 'create schema s; create table s.t (id int primary key, secretless text not null)',
  })
  await using session = await open(database.url)
  const error = await failure(session.query(sql))
  expect(error.code).toBe(code)
  expect(error.message).toContain(words)
  expect(said(error)).not.toMatch(/secret(?!less)/)
  expect(await session.query('select 1 as n')).toEqual([{ n: 1 }])
})

test('Waiting for a lock ends after the time that was allowed, and may be tried again', async () => {
  await using database = await createDatabase({ sql: 'create table t ()' })
  const client = await database.client()
  await client.query('begin; lock table t')
  await using session = await open(database.url, { lockTimeoutMs: 100 })
  expect(await failure(session.query('select from public.t'))).toMatchObject({ code: 'lock-timeout', retryable: true })
})

test('A session that the server ends while idle fails its next query and not the process', async () => {
  await using database = await createDatabase()
  await using session = await open(database.url)
  const client = await database.client()
  await client.query('select pg_terminate_backend($1)', [session.backendPid])
  await expect.poll(async () => (await failure(session.query('select 1'))).code).toBe('connection-lost')
  expect(await failure(session.query('select 1'))).toMatchObject({ code: 'connection-lost', retryable: true })
})

test('A session that the server ends in the middle of a query says so', async () => {
  await using database = await createDatabase()
  await using session = await open(database.url)
  const client = await database.client()
  const sleeping = failure(session.query('select pg_sleep(60)'))
  await client.query('select pg_terminate_backend($1)', [session.backendPid])
  expect((await sleeping).code).toBe('connection-lost')
})

test('Aborting ends a running query at once with the reason, and the server lets the session go', async () => {
  await using database = await createDatabase()
  const abort = new AbortController()
  await using session = await open(database.url, { signal: abort.signal })
  const sleeping = failure(session.query('select pg_sleep($1)', [major < 14 ? 1 : 60]))
  abort.abort(new SyncError('lease-lost', 'The lease was lost.'))
  expect((await sleeping).code).toBe('lease-lost')
  expect((await failure(session.query('select 1'))).code).toBe('lease-lost')
  expect((await failure(open(database.url, { signal: abort.signal }))).code).toBe('lease-lost')
  const client = await database.client()
  const alive = async () =>
    (await client.query('select 1 from pg_stat_activity where pid = $1', [session.backendPid])).rowCount
  await expect.poll(alive, { timeout: 10_000 }).toBe(0)
})

test('Aborting while a host does not answer ends the waiting', async () => {
  const abort = new AbortController()
  // A documentation address (RFC 5737): packets to it are dropped or refused, never answered.
  const opening = failure(open('postgres://a:b@192.0.2.1/c', { signal: abort.signal }))
  abort.abort()
  expect((await opening).code).toBe('canceled')
})

test('Closing twice is once, also after destroying', async () => {
  await using database = await createDatabase()
  const session = await open(database.url)
  await Promise.all([session.close(), session.close()])
  expect((await failure(session.query('select 1'))).code).toBe('connection-lost')
  const other = await open(database.url)
  other.destroy()
  await other.close()
})

/** Changes the process id that the server announces, as a pooler does. */
function otherProcessId(bytes: Buffer): Buffer {
  const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
  if (at >= 0) bytes.writeInt32BE(bytes.readInt32BE(at + 5) + 1, at + 5)
  return bytes
}

test('A connection through a pooler is refused, with the way out, unless it is declared a proxy', async () => {
  await using database = await createDatabase()
  const { host, port } = inject('postgres')
  await using proxy = await startChaosProxy({ target: { host, port } })
  const url = proxy.url(database.url)
  await using direct = await open(url)
  expect(await direct.query('select 1 as n')).toEqual([{ n: 1 }])
  proxy.rewrite(otherProcessId)
  const error = await failure(open(url))
  expect(error.code).toBe('database-pooler')
  expect(error.hint).toContain('6543')
  await using known = await openSession({ name: 'staging', url, viaProxy: true }, { purpose: 'test', signal: never() })
  expect(await known.query('select 1 as n')).toEqual([{ n: 1 }])
})

test('A connection that is cut in the middle of a query fails it, and a server that does not answer is given up', async () => {
  await using database = await createDatabase()
  const { host, port } = inject('postgres')
  await using proxy = await startChaosProxy({ target: { host, port } })
  await using session = await open(proxy.url(database.url))
  const sleeping = failure(session.query('select pg_sleep(60)'))
  proxy.cutAll()
  expect(await sleeping).toMatchObject({ code: 'connection-lost', retryable: true })
  proxy.refuse()
  expect((await failure(open(proxy.url(database.url)))).code).toBe('database-unreachable')
  const abort = new AbortController()
  await proxy.resume()
  proxy.blackhole()
  const opening = failure(open(proxy.url(database.url), { signal: abort.signal }))
  abort.abort()
  expect((await opening).code).toBe('canceled')
})
