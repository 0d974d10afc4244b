import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { startChaosProxy, type ChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import copyStreams from 'pg-copy-streams'
import { expect, inject, test } from 'vitest'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { openSession, type Session } from '../src/postgres/session.ts'

/** Connections that are dead without having been closed: the proxy takes what is sent and delivers nothing. */

const SILENCE_MS = 300
const DEADLINE_MS = 20_000
const ROWS = 'select repeat(md5(n::text), 30) from generate_series(1, 20000) n'

interface Place extends AsyncDisposable {
  proxy: ChaosProxy
  session: Session
  open: () => Promise<Session>
}

async function openPlace(): Promise<Place> {
  await using made = new AsyncDisposableStack()
  const database = made.use(await createDatabase({ sql: 'create table public.t (x text)' }))
  const { host, port } = inject('postgres')
  const proxy = made.use(await startChaosProxy({ target: { host, port } }))
  const signal = AbortSignal.timeout(50_000)
  const url = { name: 'staging', url: proxy.url(database.url), viaProxy: false }
  const open = async () => await openSession(url, { purpose: 'test', signal, silenceMs: SILENCE_MS })
  const session = made.use(await open())
  const owned = made.move()
  return { proxy, session, open, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
}

async function isFoundDead(work: Promise<unknown>): Promise<void> {
  const outcome = await withDeadline(
    'the line to be found dead',
    DEADLINE_MS,
    work.then(() => 'done', String),
  )
  expect(outcome).toMatch(/Connection terminated|connection to the database was lost|Premature close/i)
}

test('A statement that takes long is asked after and waited for', async () => {
  await using place = await openPlace()
  expect(await place.session.query(`select pg_sleep(2) is null as slept`)).toHaveLength(1)
  expect(place.proxy.met.connections).toBeGreaterThan(1)
  await place.session.run('select 1')
})

test('A statement that never reached its server, and one whose answer was lost, fail as if the connection was cut', async () => {
  await using place = await openPlace()
  place.proxy.swallow()
  const error = await withDeadline(
    'the line to be found dead',
    DEADLINE_MS,
    place.session.query('select 1').then(
      () => undefined,
      (thrown: unknown) => thrown,
    ),
  )
  expect(error).toBeInstanceOf(SyncError)
  expect(error).toMatchObject({ code: 'connection-lost', retryable: true })
  // Its server did not hear of the end either, and would keep its locks.
  await using looking = await place.open()
  const left = async () =>
    (await looking.query('select from pg_stat_activity where pid = $1', [place.session.backendPid])).length
  await expect.poll(left, { timeout: 5_000 }).toBe(0)
  await using other = await openPlace()
  const answer = other.session.query('select pg_sleep(0.3)')
  await sleep(100)
  other.proxy.swallow()
  await isFoundDead(answer)
})

test('A COPY out of which nothing comes any more is ended, and one that we hold back is not', async () => {
  await using place = await openPlace()
  let isStopped = false
  const copy = place.session.client.query(copyStreams.to(`copy (${ROWS}) to stdout`))
  let bytes = 0
  const slow = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      bytes += chunk.length
      const isPause = !isStopped && bytes > 2e6
      isStopped ||= isPause
      setTimeout(callback, isPause ? 3_000 : 0)
    },
  })
  await pipeline(copy, slow)
  expect(copy.rowCount).toBe(20_000)
  expect(isStopped).toBe(true)
  // Until the server is ready again a query only stands in the queue.
  await place.session.run('select 1')
  const lost = place.session.client.query(
    copyStreams.to(`copy (${ROWS} union all select 'x' from pg_sleep(1)) to stdout`),
  )
  const read = pipeline(lost, new Writable({ write: (_chunk, _encoding, callback) => callback() }))
  place.proxy.swallow()
  await isFoundDead(read)
})

test('A COPY in that nobody takes any more is ended, and one that we feed slowly is not', async () => {
  await using place = await openPlace()
  async function* rows(): AsyncGenerator<Buffer> {
    yield Buffer.from('first\n')
    await sleep(2_000)
    yield Buffer.from('last\n')
  }
  const copy = place.session.client.query(copyStreams.from('copy public.t from stdin'))
  await pipeline(Readable.from(rows(), { objectMode: false }), copy)
  expect(copy.rowCount).toBe(2)
  const lost = place.session.client.query(copyStreams.from('copy public.t from stdin'))
  async function* more(): AsyncGenerator<Buffer> {
    yield Buffer.from('first\n')
    await sleep(100)
    place.proxy.swallow()
    yield Buffer.from('last\n')
  }
  await isFoundDead(pipeline(Readable.from(more(), { objectMode: false }), lost))
})

test('A connection is given up when its server is gone and nobody answers in its place', async () => {
  await using place = await openPlace()
  place.proxy.swallow()
  place.proxy.refuse()
  await isFoundDead(place.session.query('select 1'))
})
