import { SyncError } from '@multiboard-sync/shared/sync-error'
import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import { until, withDeadline } from '@multiboard-sync/shared/testing/postgres/deadline'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readFingerprint } from '../src/postgres/fingerprint.ts'
import { holdOffVacuum, isBeingVacuumed, lockForCheck, lockRelations } from '../src/postgres/lock-relations.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { findOldSnapshots, readSnapshotMark } from '../src/postgres/snapshot-gate.ts'
import { readWrites } from '../src/postgres/written-rows.ts'
import { schema } from './swap-checks-schema.ts'

const { signal } = new AbortController()
const waitMs = 10_000

async function open({ url }: { url: string }): Promise<Session> {
  return await openSession({ name: 'staging', url, viaProxy: false }, { purpose: 'test', signal })
}

let database: TestDatabase
let session: Session
beforeAll(async () => {
  database = await createDatabase({ sql: schema })
  session = await open(database)
})
afterAll(async () => {
  await session.close()
  await database[Symbol.asyncDispose]()
})

/** Runs the work after the statements, and takes all of it back. */
async function trying<T>(sql: string, work: () => Promise<T>): Promise<T> {
  await session.run(`begin; ${sql}`)
  try {
    return await work()
  } finally {
    await session.run('rollback')
  }
}

describe('The old-snapshot gate', () => {
  /** A write elsewhere, so that the mark moves on. */
  const load = async () => {
    await session.run('create table live.loaded (id int); insert into live.loaded values (1); drop table live.loaded')
    return await readSnapshotMark(session)
  }
  const pidsOf = (found: { pid: number }[]) => found.map(({ pid }) => pid)

  test('R1: names a transaction whose snapshot is older than the load, until it ends', async () => {
    await using old = await open(database)
    await old.run('begin isolation level repeatable read; select 1')
    const mark = await load()
    const found = await findOldSnapshots(session, mark)
    expect(found).toEqual([{ pid: old.backendPid, application: 'multiboard-sync test', seconds: expect.any(Number) }])
    expect(found[0]?.seconds).toBeLessThan(30)
    await old.run('rollback')
    expect(await findOldSnapshots(session, mark)).toEqual([])
  })

  test('R1: names whoever took over an old snapshot from somebody else, though both transactions look new', async () => {
    await using exporter = await open(database)
    await using importer = await open(database)
    await exporter.run('begin isolation level repeatable read')
    const [row] = await exporter.query<{ id: string }>('select pg_export_snapshot() as id')
    const mark = await load()
    await importer.run(`begin isolation level repeatable read; set transaction snapshot '${row?.id}'; select 1`)
    await exporter.run('commit')
    expect(pidsOf(await findOldSnapshots(session, mark))).toEqual([importer.backendPid])
  })

  test('R1: does not name a younger snapshot, an idle READ COMMITTED transaction, an idle session or another database', async () => {
    await using other = await createDatabase()
    await using elsewhere = await open(other)
    await elsewhere.run('begin isolation level repeatable read; select 1')
    await using idle = await open(database)
    await idle.run('begin; select 1 from live.k')
    await using resting = await open(database)
    await resting.run('select 1')
    const mark = await load()
    await using younger = await open(database)
    // A write that is open anywhere on the server, as those of tests beside us, makes all snapshots older.
    await until('the snapshot is younger than the mark', waitMs, async () => {
      await younger.run('rollback; begin isolation level repeatable read; select 1')
      return (await findOldSnapshots(session, mark)).length === 0
    })
    const [row] = await session.query('select backend_xmin is not null as holds from pg_stat_activity where pid = $1', [
      younger.backendPid,
    ])
    expect(row).toEqual({ holds: true })
  })

  test('R1: sees as much without the right to look into the sessions of others', async () => {
    const role = `reader_${process.pid}`
    await session.run(`create role ${role}`)
    try {
      await using old = await open(database)
      await using plain = await open(database)
      await plain.run(`set role ${role}`)
      await old.run('begin isolation level repeatable read; select 1')
      const mark = await load()
      expect(await findOldSnapshots(plain, await readSnapshotMark(plain))).toHaveLength(1)
      expect(await findOldSnapshots(plain, mark)).toEqual([
        { pid: old.backendPid, application: 'multiboard-sync test', seconds: 0 },
      ])
      await old.run('rollback')
      expect(await findOldSnapshots(plain, mark)).toEqual([])
    } finally {
      await session.run(`drop role ${role}`)
    }
  })
})

async function failure(work: Promise<unknown>): Promise<SyncError> {
  const error = await work.then(
    () => 'nothing was thrown',
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof SyncError)) throw new Error(`not a SyncError: ${String(error)}`)
  return error
}

describe('Locks', () => {
  const o = { schema: 'live', name: 'o' }
  const k = { schema: 'live', name: 'k' }
  const view = (name: string) => ({ schema: 'live', name, owner: 'postgres' })

  test('Exactly what was asked for is locked, and a view without its tables', async () => {
    const locked = async () => {
      const rows = await session.query<{ name: string }>(
        `select relation::regclass::text as name from pg_locks
         where pid = pg_backend_pid() and mode = 'AccessExclusiveLock' and relation >= 16384 order by 1`,
      )
      return rows.map(({ name }) => name)
    }
    const before = await readFingerprint(session)
    await session.run('begin')
    await lockRelations(session, { views: [view('w'), view('v')], materialized: [view('m')], tables: [], forMs: 2_000 })
    expect(await locked()).toEqual(['live.m', 'live.v', 'live.w'])
    await lockRelations(session, { views: [], materialized: [], tables: [k, o], forMs: 2_000 })
    expect(await locked()).toEqual(['live.k', 'live.m', 'live.o', 'live.v', 'live.w'])
    expect(await session.query('show statement_timeout')).toEqual([{ statement_timeout: '0' }])
    await session.run('commit')
    expect(await readFingerprint(session)).toEqual(before)
  })

  test('D2: one limit bounds the whole wait, however many locks have to be waited for', async () => {
    const others = await Promise.all(['o', 'k', 'v', 'm'].map(async () => await open(database)))
    try {
      for (const [i, name] of ['live.o', 'live.k', 'apart.a', 'apart.b'].entries()) {
        await others[i]?.run(`begin; select from ${name}`)
      }
      await session.run('begin')
      const startedAt = performance.now()
      const tables = [o, k, { schema: 'apart', name: 'a' }, { schema: 'apart', name: 'b' }]
      const trying = failure(lockRelations(session, { views: [view('w')], materialized: [], tables, forMs: 400 }))
      // One after the other lets go, so that each single lock is waited for less than the limit.
      for (const other of others.slice(0, 3)) {
        await other.query('select pg_sleep(0.15)')
        await other.run('rollback')
      }
      expect(await trying).toMatchObject({ code: 'lock-timeout', retryable: true })
      const tookMs = performance.now() - startedAt
      expect(tookMs).toBeGreaterThan(350)
      expect(tookMs).toBeLessThan(3_000)
      await session.run('rollback')
    } finally {
      await Promise.all(others.map(async (other) => await other.close()))
    }
  })

  test('A reader in the middle of its transaction is never the one who gives way', async () => {
    await using reader = await open(database)
    await reader.run('begin; select from live.o')
    await session.run('begin')
    const locking = failure(
      lockRelations(session, { views: [view('w'), view('v')], materialized: [], tables: [o], forMs: 800 }),
    )
    await until('we have the views and wait for the table', waitMs, async () => await waits(reader, session))
    // It waits for our view, and we for its table.
    await withDeadline('the reader reads the view', waitMs, reader.run('select from live.w'))
    expect((await locking).code).toBe('lock-timeout')
    await session.run('rollback')
    await reader.run('commit')
  })

  test('D15: a deadlock that the server has to end is told as something to try again', async () => {
    await using reader = await open(database)
    await reader.run('begin; select from live.o')
    await session.run(`begin; set local deadlock_timeout = '700ms'`)
    const locking = failure(
      lockRelations(session, { views: [view('v')], materialized: [], tables: [o], forMs: waitMs }),
    )
    await until('we have the view and wait for the table', waitMs, async () => await waits(reader, session))
    await withDeadline('the reader reads the view', waitMs, reader.run('select from live.v'))
    const error = await locking
    expect(error).toMatchObject({ code: 'lock-timeout', retryable: true })
    expect(error.message).toContain('40P01')
    await session.run('rollback')
  })

  test('D11: a member of the owner can lock a view, and somebody else cannot', async () => {
    const [owner, member, other] = ['owner', 'member', 'other'].map((name) => `${name}_${process.pid}`)
    const lock = async () =>
      await lockRelations(session, {
        views: [{ schema: 'live', name: 'v', owner: owner ?? '' }],
        materialized: [{ schema: 'live', name: 'm', owner: owner ?? '' }],
        tables: [o],
        forMs: 2_000,
      })
    const roles = `create role ${owner}; create role ${member} in role ${owner}; create role ${other};
      grant usage on schema live to public; alter view live.v owner to ${owner};
      alter materialized view live.m owner to ${owner}; alter table live.o owner to ${owner};`
    await trying(`${roles} set local role ${member}`, lock)
    const error = await failure(trying(`${roles} set local role ${other}`, lock))
    expect(error.code).toBe('permission-denied')
  })

  test('A lock for the check lets readers read and makes writers wait', async () => {
    await using other = await open(database)
    await session.run('begin')
    await lockForCheck(session, [o], 2_000)
    await other.run('select from live.o')
    await other.run(`set lock_timeout = '50ms'`)
    expect((await failure(other.run('delete from live.o where id < 0'))).code).toBe('lock-timeout')
    await session.run('rollback')
  })

  test('Rows that others write are counted once their transaction has ended', async () => {
    await using writer = await createDatabase({ sql: schema })
    await using reader = await open(writer)
    const [table] = await reader.query<{ oid: number }>(`select 'live.o'::regclass::int8::float8 as oid`)
    const oids = [table?.oid ?? 0]
    await reader.run('begin')
    await until('the first rows are told', waitMs, async () => (await readWrites(reader, oids)) === 2)
    const client = await writer.client()
    await client.query(`insert into live.o (n) values (7), (8), (9)`)
    await client.query(`update live.o set n = 6 where n = 7`)
    await client.query('delete from live.o where n = 8')
    await client.end()
    await until('five more writes are told', waitMs, async () => (await readWrites(reader, oids)) === 7)
  })

  /** Whether somebody's backend waits for a lock, as another session sees it. */
  async function waits(seer: Session, waiting: Session): Promise<boolean> {
    const [row] = await seer.query<{ waits: boolean }>(
      `select exists (select from pg_locks where pid = $1 and not granted and mode = 'AccessExclusiveLock') as waits`,
      [waiting.backendPid],
    )
    return row?.waits ?? false
  }
})

test('D4: autovacuum is told apart, gives way to a lock that no reader and no writer waits for, and is no old snapshot', async () => {
  await using server = await startPostgres({
    settings: {
      autovacuum: 'on',
      autovacuum_naptime: '1s',
      // Slow, so that it is at work for as long as the test needs.
      autovacuum_vacuum_cost_delay: '100ms',
      autovacuum_vacuum_cost_limit: '1',
      log_autovacuum_min_duration: '-1',
    },
  })
  const at = { url: server.url('postgres') }
  await using owner = await open(at)
  await using plain = await open(at)
  await owner.run(`
    create table public.t (id int, pad text) with (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0);
    insert into public.t select n, repeat('x', 500) from generate_series(1, 5000) n; delete from public.t where id % 2 = 0;
    create role plain`)
  await plain.run('set role plain')
  const [table] = await owner.query<{ oid: number }>(`select 'public.t'::regclass::int8::float8 as oid`)
  const oids = [table?.oid ?? 0]
  const t = { schema: 'public', name: 't' }
  // Asked by the one who wrote: before 15 a session reports its writes when it next does something.
  await until('autovacuum is at work', 30_000, async () => await isBeingVacuumed(owner, oids), 200)
  expect(await isBeingVacuumed(plain, oids)).toBe(true)
  await owner.run('insert into public.t values (1)')
  const mark = await readSnapshotMark(owner)
  expect(await findOldSnapshots(owner, mark)).toEqual([])
  expect(await findOldSnapshots(plain, mark)).toEqual([])

  await owner.run('begin')
  const locks = { views: [], materialized: [], tables: [t], forMs: 300 }
  expect((await failure(lockRelations(owner, locks))).code).toBe('lock-timeout')
  await owner.run('rollback')
  expect(await isBeingVacuumed(owner, oids)).toBe(true)

  await owner.run('begin')
  await using writer = await open(at)
  await writer.run(`set lock_timeout = '300ms'`)
  const holding = holdOffVacuum(owner, [t])
  await until('we wait for the vacuum', waitMs, async () => {
    const waiting = await writer.query('select from pg_locks where pid = $1 and not granted', [owner.backendPid])
    await writer.run(
      'insert into public.t values (2); update public.t set id = 3 where id = 2; select from public.t limit 1',
    )
    return waiting.length > 0
  })
  await withDeadline('autovacuum gives way', waitMs, holding)
  await lockRelations(owner, locks)
  expect(await isBeingVacuumed(owner, oids)).toBe(false)
  await owner.run('rollback')
})
