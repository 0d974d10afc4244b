import { join } from 'node:path'
import { startPostgres, type PostgresServer } from '@multiboard-sync/shared/testing/postgres'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it, test } from 'vitest'
import { readTarget } from './matrix/read-target.ts'
import { whileReading, type Seen } from './readers/watch-readers.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, POLICY, type World } from './road/world.ts'

/*
 * Whoever reads the target while its tables are replaced: never an error, never an empty table, never the rows of two
 * versions in one transaction. Every row has the version of its database, so that a reader can tell.
 */

const { major } = inject('postgres')
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }
/** The goal is 50 ms on a quiet machine; tests run on busy ones. */
const LONGEST_MS = 2_000
/** Two jobs beside readers that do not rest, on a busy machine. */
const TWO_JOBS_MS = 120_000
/** An attempt waits for a quarter of a second. */
const STALL_MS = 300
/** Between that and PostgreSQL's deadlock_timeout, which is what a long wait would end with. */
const BUSY_MS = 500

const shop = (version: string, rows: number): string => `
  create table public.a (id int primary key, version text not null, note text);
  create table public.b (id int primary key, a int references public.a, version text not null);
  create table public.apart (id int);
  create view public.of_a with (security_barrier) as select version, id from public.a where id > 0;
  create view public.of_both as select a.version from public.a join public.b on b.a = a.id and a.version = b.version;
  insert into public.a select n, '${version}', repeat('note', 50) from generate_series(1, ${rows}) n;
  insert into public.b select n, n, '${version}' from generate_series(1, ${rows}) n;`

let world: World
beforeAll(async () => {
  world = await openWorld({ source: { sql: shop('new', 1500) } })
})
afterAll(async () => await world[Symbol.asyncDispose]())

const TABLES = ['public.a', 'public.b']
let places = 0

/** A target of its own, and an agent's folder. */
async function openTarget(lockAttempts: number): Promise<TestDatabase & { env: Record<string, string> }> {
  const database = await createDatabase({ sql: shop('old', 1000) })
  await world.writePolicy(`${POLICY}limits: { lock_attempts: ${lockAttempts} }\n`)
  return Object.assign(database, { env: envOf(database.url) })
}

function envOf(target: string): Record<string, string> {
  places += 1
  return { STAGING_DATABASE_URL: target, AGENT_STATE_DIR: join(world.dir, `state-${places}`) }
}

async function answer(client: pg.Client, sql: string): Promise<string> {
  const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' })
  return rows.map((row) => row.join(' ')).join(', ')
}

const versionsOf = async (client: pg.Client, of: string): Promise<string> =>
  await answer(client, `select version, count(*) from ${of} group by 1`)

function say(what: string, { longestMs, reads }: Seen): void {
  process.stdout.write(`${what}: ${reads} reads, the longest wait was ${Math.ceil(longestMs)} ms\n`)
}

test(
  'R1: four readers of tables and views see one version in each transaction during a swap and its undo, without errors',
  { timeout: TWO_JOBS_MS },
  async () => {
    await using target = await openTarget(20)
    const { env } = target
    const seen = await whileReading(
      target.url,
      [
        { relations: ['public.a', 'public.b'] },
        { relations: ['public.of_a', 'public.of_both'] },
        { level: 'read committed', relations: ['public.b', 'public.of_a', 'public.a', 'public.of_both'] },
        { level: 'repeatable read', relations: ['public.of_both', 'public.a', 'public.b', 'public.of_a'] },
      ],
      async () => {
        const { receipt, engine } = mustSucceed(
          await runJobHere(world, { ...SYNC, engine: 'swap', tables: TABLES }, { env }),
        )
        expect(engine).toBe('swap')
        mustSucceed(await runJobHere(world, { kind: 'undo', target: 'staging', job: receipt?.job }, { env }))
      },
    )
    say('Readers during a swap and its undo', seen)
    expect(seen.wrong).toEqual([])
    expect(seen.versions).toEqual(['old', 'new'])
    expect(seen.longestMs).toBeLessThan(LONGEST_MS)
  },
)

describe('Test 1: a transaction that began before the load', () => {
  it('Test 1: makes the swap give up politely, and then reads its rows', async () => {
    await using target = await openTarget(2)
    const { env } = target
    const before = await readTarget(target.url)
    const old = await target.client()
    await old.query('begin isolation level repeatable read; select from public.apart')
    const result = await runJobHere(world, { ...SYNC, engine: 'swap', tables: TABLES }, { env })
    expect(result).toMatchObject({ outcome: 'failed', code: 'old-snapshot', target_state: 'untouched' })
    expect(result.details?.join()).toMatch(/in the way: session \d+ \(test\)/)
    expect([await versionsOf(old, 'public.a'), await versionsOf(old, 'public.of_both')]).toEqual([
      'old 1000',
      'old 1000',
    ])
    await old.query('commit')
    expect(await readTarget(target.url)).toEqual(before)
    mustSucceed(await runJobHere(world, { ...SYNC, engine: 'swap', tables: TABLES }, { env }))
    expect(await versionsOf(old, 'public.a')).toBe('new 1500')
  })

  it('Test 1: and holds a lock on a table makes the job give up before it has loaded anything', async () => {
    await using target = await openTarget(2)
    const before = await readTarget(target.url)
    const old = await target.client()
    await old.query('begin isolation level repeatable read; select from public.a')
    const result = await runJobHere(world, { ...SYNC, engine: 'swap', tables: TABLES }, { env: target.env })
    expect(result).toMatchObject({ outcome: 'failed', code: 'lock-timeout' })
    expect(result.target_state).toMatch(/^(untouched|rolled_back)$/)
    expect(await versionsOf(old, 'public.b')).toBe('old 1000')
    await old.query('commit')
    expect(await readTarget(target.url)).toEqual(before)
  })

  /** As `pg_dump -n public`: snapshot, names to OIDs, LOCK TABLE, and only then the rows. */
  it('Test 1: a dump that straddles the swap has all rows of one version, and the swap follows it', async () => {
    await using target = await openTarget(20)
    const dump = await target.client()
    await dump.query('begin isolation level repeatable read, read only; select pg_export_snapshot()')
    const dumped: string[] = []
    const copy = async (): Promise<void> => {
      await dump.query('lock table public.a, public.b in access share mode')
      dumped.push(await versionsOf(dump, 'public.a'), await versionsOf(dump, 'public.b'))
      await dump.query('commit')
    }
    let copying: Promise<void> | undefined
    const result = await runJobHere(
      world,
      { ...SYNC, engine: 'swap', tables: TABLES },
      { env: target.env, onEvent: (type) => void (type === 'lock.waiting' && (copying ??= copy())) },
    )
    await copying
    mustSucceed(result)
    expect(dumped).toEqual(['old 1000', 'old 1000'])
    expect(await versionsOf(await target.client(), 'public.a')).toBe('new 1500')
  })

  it('Test 1: a dump that waits for its locks behind the swap finds rows, not an empty table', async () => {
    await using target = await openTarget(20)
    const [reader, dump] = [await target.client(), await target.client()]
    const dumped: string[] = []
    const copy = async (): Promise<void> => {
      await dump.query('begin isolation level repeatable read, read only; select pg_export_snapshot()')
      const locked = dump.query('lock table public.a, public.b in access share mode')
      await reader.query('commit')
      await locked
      dumped.push(await versionsOf(dump, 'public.a'), await versionsOf(dump, 'public.b'))
      await dump.query('commit')
    }
    let waiting: Promise<unknown> | undefined
    let copying: Promise<void> | undefined
    const result = await runJobHere(
      world,
      { ...SYNC, engine: 'swap', tables: TABLES },
      {
        env: target.env,
        onEvent: (type) => {
          if (type === 'stage.made') waiting = reader.query('begin; select from public.a')
          if (type === 'lock.waiting') copying ??= copy()
        },
      },
    )
    await waiting
    await copying
    mustSucceed(result)
    expect(new Set(dumped).size).toBe(1)
    expect(['old 1000', 'new 1500']).toContain(dumped[0])
  })
})

it('Test 13: D2, D4: with five long readers and a locker like autovacuum, the others wait a quarter of a second an attempt', async () => {
  // A server of its own: a long writing transaction of another test would age the readers' snapshots, and the gate for old
  // snapshots would speak before the locks do.
  await using server = await startPostgres()
  await using clients = new AsyncDisposableStack()
  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: server.url('postgres'), application_name: 'test' })
    await client.connect()
    clients.defer(async () => await client.end())
    return client
  }
  await (await connect()).query(shop('old', 1000))
  await world.writePolicy(`${POLICY}limits: { lock_attempts: 2 }\n`)
  const target = { url: server.url('postgres'), env: envOf(server.url('postgres')) }
  const before = await readTarget(target.url)
  const inTheWay = await Promise.all(Array.from({ length: 6 }, connect))
  const locks = inTheWay.map((_, n) =>
    n === 0
      ? 'begin; lock table public.b in share update exclusive mode'
      : `begin; select from public.${n % 2 ? 'a' : 'of_both'}`,
  )
  let taken: Promise<unknown> | undefined
  const seen = await whileReading(
    target.url,
    ['public.a', 'public.of_a', 'public.of_both'].map((one) => ({ relations: [one] })),
    async () => {
      const result = await runJobHere(
        world,
        { ...SYNC, engine: 'swap', tables: TABLES },
        {
          env: target.env,
          onEvent: (type) => {
            if (type === 'stage.made')
              taken = Promise.all(inTheWay.map(async (one, n) => await one.query(locks[n] ?? '')))
          },
        },
      )
      await taken
      expect(result).toMatchObject({ outcome: 'failed', code: 'lock-timeout', target_state: 'rolled_back' })
      expect(result.details?.join()).toMatch(/in the way: session \d+ \(test\)/)
    },
  )
  say('Other readers beside five long ones', seen)
  expect(seen.wrong).toEqual([])
  expect(seen.versions).toEqual(['old'])
  expect(seen.longestMs).toBeLessThan(STALL_MS + BUSY_MS)
  await Promise.all(inTheWay.map(async (one) => await one.query('commit')))
  expect(await readTarget(target.url)).toEqual(before)
})

describe('on a server with prepared transactions and logical replication', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await startPostgres({
      settings: { wal_level: 'logical', max_prepared_transactions: '5', shared_buffers: '16MB', max_wal_senders: '10' },
    })
  })
  afterAll(async () => await server[Symbol.asyncDispose]())

  /** A publisher, which is the target of jobs, and its subscriber, both with the old rows. */
  async function openPair(made: AsyncDisposableStack, name: string, publication: string) {
    const connect = async (database: string): Promise<pg.Client> => {
      const client = new pg.Client({ connectionString: server.url(database), application_name: 'test' })
      await client.connect()
      made.defer(async () => await client.end())
      return client
    }
    const maintenance = await connect('postgres')
    for (const one of [name, `${name}_copy`]) await maintenance.query(`create database ${one}`)
    const [target, copy] = [await connect(name), await connect(`${name}_copy`)]
    for (const one of [target, copy]) await one.query(shop('old', 100))
    await target.query(`create publication shown ${publication}`)
    // On the same server CREATE SUBSCRIPTION would wait for itself when it made the slot.
    await target.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [name])
    await copy.query(
      `create subscription watches connection '${server.url(name)}' publication shown
       with (create_slot = false, slot_name = ${name}, copy_data = false)`,
    )
    await world.writePolicy(`${POLICY}limits: { lock_attempts: 2 }\n`)
    return { target, copy, env: envOf(server.url(name)) }
  }

  async function follows(copy: pg.Client, target: pg.Client): Promise<void> {
    const sql = `select md5(string_agg(t::text, ',' order by id)) from public.a t union all
                 select md5(string_agg(t::text, ',' order by id)) from public.b t`
    await expect.poll(async () => await answer(copy, sql), { timeout: 20_000 }).toBe(await answer(target, sql))
  }

  it('R4: Test 4: a target that publishes all its tables is refused before anything is written, and its subscriber goes on', async () => {
    await using made = new AsyncDisposableStack()
    const { target, copy, env } = await openPair(made, 'all_of_it', 'for all tables')
    const result = await runJobHere(world, { ...SYNC, tables: TABLES }, { env })
    expect(result).toMatchObject({ outcome: 'refused', target_state: 'untouched' })
    expect([result.message, ...(result.details ?? [])].join()).toMatch(/publication shown/)
    await target.query(
      `insert into public.a values (5000, 'old', 'later'); update public.b set version = 'old too' where id = 7`,
    )
    await follows(copy, target)
    expect(await answer(copy, 'select count(*) from public.a')).toBe('101')
  })

  const publications: [string, string, 'merge' | 'truncate', number][] = [
    ['some_tables', 'for table public.a, public.b', 'merge', 13],
    ['cut_off', 'for table public.a, public.b', 'truncate', 13],
    ['a_schema', 'for tables in schema public', 'merge', 15],
  ]
  it.for(publications)(
    'R4: Test 5: a subscriber of %s (%s) has what the publisher has after a %s, and goes on',
    async ([name, publication, engine, since], { skip }) => {
      skip(major < since, `needs PostgreSQL ${since}`)
      await using made = new AsyncDisposableStack()
      const { target, copy, env } = await openPair(made, name, publication)
      const asked = engine === 'merge' ? 'auto' : engine
      const done = mustSucceed(await runJobHere(world, { ...SYNC, tables: TABLES, engine: asked }, { env }))
      expect(done.engine).toBe(engine)
      expect(await versionsOf(target, 'public.a')).toBe('new 1500')
      await follows(copy, target)
      await target.query(`update public.a set note = 'later' where id = 3; delete from public.b where id = 4`)
      await follows(copy, target)
    },
  )

  it('A prepared transaction in the way is named, whether it was there before the job or came during it', async () => {
    await using made = new AsyncDisposableStack()
    const { target, env } = await openPair(made, 'prepared', 'for table public.apart')
    const before = await readTarget(server.url('prepared'))
    const prepare = async (): Promise<void> => {
      await target.query('begin')
      await target.query('select from public.a')
      await target.query(`prepare transaction 'left'`)
    }
    let preparing: Promise<void> | undefined
    const late = await runJobHere(
      world,
      { ...SYNC, engine: 'swap', tables: TABLES },
      { env, onEvent: (type) => void (type === 'stage.made' && (preparing ??= prepare())) },
    )
    await preparing
    expect(late).toMatchObject({ outcome: 'failed', code: 'lock-timeout', target_state: 'rolled_back' })
    expect(late.details?.join()).toMatch(/a prepared transaction/)
    expect(await readTarget(server.url('prepared'))).toEqual(before)
    const early = await runJobHere(world, { ...SYNC, engine: 'swap', tables: TABLES }, { env })
    expect(early).toMatchObject({ outcome: 'refused', target_state: 'untouched' })
    expect(early.details?.join()).toMatch(/"left"/)
    await target.query(`commit prepared 'left'`)
  })
})
