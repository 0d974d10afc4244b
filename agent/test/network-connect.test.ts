import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { startChaosProxy, type ChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, inject, test } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { openTarget, type Target } from '../src/postgres/open-target.ts'
import { openSession, type Session, type SessionOptions } from '../src/postgres/session.ts'
import { waitForTargetLock } from '../src/postgres/target-lock.ts'
import { writeReceipt, takeFence } from '../src/restore/receipt.ts'

/** What a bad line does to the opening of sessions, and to the session that holds a target. */

const signal = AbortSignal.timeout(55_000)

interface Place extends AsyncDisposable {
  database: TestDatabase
  proxy: ChaosProxy
  open: (over?: Partial<SessionOptions>) => Promise<Session>
  target: () => Promise<Target>
}

async function openPlace(): Promise<Place> {
  await using made = new AsyncDisposableStack()
  const database = made.use(await createDatabase())
  const { host, port } = inject('postgres')
  const proxy = made.use(await startChaosProxy({ target: { host, port } }))
  const through = { name: 'staging', url: proxy.url(database.url), viaProxy: false }
  const owned = made.move()
  return {
    database,
    proxy,
    open: async (over) => await openSession(through, { purpose: 'test', signal, ...over }),
    target: async () => await openTarget(through, signal),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

async function failure(work: Promise<unknown>): Promise<SyncError> {
  const error = await work.then(
    () => 'nothing was thrown',
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof SyncError)) throw new Error(`not a SyncError: ${String(error)}`)
  return error
}

test('A connection that breaks while it is made is made again, wherever it broke', async () => {
  await using place = await openPlace()
  for (const bytes of [1, 50, 200, 400, 600, 800]) {
    place.proxy.cutAfterBytes(bytes, 'toClient')
    await using session = await place.open()
    expect(await session.query('select 1 as n')).toEqual([{ n: 1 }])
    await place.proxy.resume()
  }
  expect(place.proxy.met.connections).toBeGreaterThan(9)
})

test('A line that always breaks is told of, and so is at once a server that is not there, unless the job has patience', async () => {
  await using place = await openPlace()
  place.proxy.cuts({ seed: 1, share: 1, withinBytes: 100 })
  expect(await failure(place.open())).toMatchObject({ code: 'database-unreachable', retryable: true })
  expect(place.proxy.met.connections).toBe(4)
  place.proxy.cuts(undefined)
  place.proxy.refuse()
  const startedAt = performance.now()
  expect((await failure(place.open())).code).toBe('database-unreachable')
  expect(performance.now() - startedAt).toBeLessThan(1_000)
  const opening = place.open({ patient: true })
  await sleep(1_200)
  await place.proxy.resume()
  await using session = await opening
  expect(await session.query('select 1 as n')).toEqual([{ n: 1 }])
})

test('The server ends a session whose machine is gone after a minute without a sign of life', async () => {
  await using place = await openPlace()
  await using session = await place.open()
  const [row] = await session.query(`select current_setting('tcp_keepalives_idle') as idle,
    current_setting('tcp_keepalives_interval') as interval, current_setting('tcp_keepalives_count') as count`)
  expect(row).toEqual({ idle: '30', interval: '10', count: '3' })
})

test('A target whose connection was cut is held again by another session, and the old one is gone', async () => {
  await using place = await openPlace()
  await using target = await place.target()
  const first = target.session
  await target.stand(signal)
  expect(target.session).toBe(first)
  // The server does not hear of it: the old session keeps the lock until it is ended.
  place.proxy.swallow()
  first.destroy()
  await Promise.all([target.stand(signal), target.stand(signal)])
  expect(target.session).not.toBe(first)
  expect(
    await target.session.query(`select pid from pg_stat_activity where application_name ~ 'target$'
    and datname = current_database()`),
  ).toEqual([{ pid: target.session.backendPid }])
  const client = await place.database.client()
  const held = await client.query(`select from pg_locks where locktype = 'advisory' and granted and pid = $1`, [
    target.session.backendPid,
  ])
  expect(held.rowCount).toBe(1)
})

test('A target that another job has taken while its connection was broken is not held again', async () => {
  await using place = await openPlace()
  await using target = await place.target()
  place.proxy.cutAll()
  await using other = await place.open()
  await waitForTargetLock(other)
  expect(await failure(target.stand(signal))).toMatchObject({ code: 'fence-superseded', retryable: false })
})

test('A target that another job has changed while its connection was broken is not held again', async () => {
  await using place = await openPlace()
  await using target = await place.target()
  place.proxy.cutAll()
  await using other = await place.open()
  await other.run('begin')
  const facts = { job: 'j000000000002', fence: undefined, target: 'staging' }
  const fence = await takeFence(other, facts)
  const written = { ...facts, fence, epoch: 1, archive: 'a', safetyBackup: undefined, tables: 0, names: [], rows: 0 }
  await writeReceipt(other, { ...written, engine: 'swap' })
  await other.run('commit')
  expect(await failure(target.stand(signal))).toMatchObject({ code: 'fence-superseded', retryable: false })
})

test('A job does not go on after its server has crashed, since what it had committed without waiting may be lost', async () => {
  await using server = await startPostgres({ settings: { shared_buffers: '16MB', restart_after_crash: 'on' } })
  const database = { name: 'staging', url: server.url('postgres'), viaProxy: false }
  await using target = await openTarget(database, signal)
  const victim = await openSession(database, { purpose: 'victim', signal })
  process.kill(victim.backendPid, 'SIGKILL')
  const isOver = async () =>
    await target.session.query('select 1').then(
      () => false,
      () => true,
    )
  await until('the server to end every session', 20_000, isOver)
  const error = await failure(target.stand(signal))
  expect(error).toMatchObject({ code: 'connection-lost', retryable: false })
  expect(error.message).toContain('crashed')
})
