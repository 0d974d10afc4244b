import { once } from 'node:events'
import { connect, createServer } from 'node:net'

import pg from 'pg'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'

import { startChaosProxy, type ChaosProxy } from '../testing/chaos-proxy.ts'
import { until, withDeadline } from '../testing/postgres/deadline.ts'
import { databaseUrl } from '../testing/test-database.ts'

const waitMs = 10_000

let proxy: ChaosProxy
let clients: pg.Client[] = []

async function client(): Promise<pg.Client> {
  const one = new pg.Client({ connectionString: proxy.url(databaseUrl('postgres')), connectionTimeoutMillis: waitMs })
  one.on('error', () => undefined)
  clients.push(one)
  await one.connect()
  return one
}

beforeEach(async () => {
  const { host, port } = inject('postgres')
  proxy = await startChaosProxy({ target: { host, port } })
})

afterEach(async () => {
  await proxy[Symbol.asyncDispose]()
  await withDeadline('closing clients', waitMs, Promise.allSettled(clients.map(async (one) => await one.end())))
  clients = []
})

describe('Between a client and PostgreSQL, the proxy', () => {
  test('hands everything on, and counts both directions', async () => {
    const one = await client()
    const sent = proxy.bytes.toServer
    const { rows } = await one.query(`select repeat('x', 1000000) as text`)
    expect((rows[0] as { text: string }).text).toBe('x'.repeat(1_000_000))
    expect(proxy.bytes.toClient).toBeGreaterThan(1_000_000)
    expect(proxy.bytes.toServer - sent).toBeLessThan(1000)
    expect(proxy.open).toBe(1)
    await one.end()
    await until('the connection is gone', waitMs, () => proxy.open === 0)
  })

  test('cuts what is open and lets new connections in', async () => {
    const one = await client()
    const [outcome] = await withDeadline(
      'the query fails',
      waitMs,
      Promise.allSettled([one.query('select pg_sleep(60)'), Promise.resolve(proxy.cutAll())]),
    )
    expect(outcome).toMatchObject({ status: 'rejected' })
    const { rows } = await (await client()).query('select 1 as n')
    expect(rows).toEqual([{ n: 1 }])
  })

  test('ends the backend of a connection that it cuts', async () => {
    const one = await client()
    const other = await client()
    const { rows } = await one.query('select pg_backend_pid() as pid')
    const { pid } = rows[0] as { pid: number }
    proxy.cutAll()
    await withDeadline('both fail', waitMs, Promise.allSettled([one.query('select 1'), other.query('select 1')]))
    const third = await client()
    const gone = until('the backend is gone', waitMs, async () => {
      const found = await third.query('select from pg_stat_activity where pid = $1', [pid])
      return found.rowCount === 0
    })
    await expect(gone).resolves.toBe(true)
  })

  test('cuts after exactly so many bytes, once', async () => {
    const one = await client()
    const before = proxy.bytes.toClient
    proxy.cutAfterBytes(300_000, 'toClient')
    await expect(one.query(`select repeat('x', 1000000)`)).rejects.toThrow(/ECONNRESET|terminated/)
    expect(proxy.bytes.toClient - before).toBe(300_000)
    const again = await client()
    expect((await again.query(`select repeat('x', 1000000)`)).rowCount).toBe(1)
  })

  test('lets nothing flow while it is a black hole, and loses nothing', async () => {
    const one = await client()
    proxy.blackhole()
    const delivered = { ...proxy.bytes }
    const query = one.query('select 1 as n')
    const first = await Promise.race([query, new Promise((resolve) => setTimeout(resolve, 300, 'nothing yet'))])
    expect(first).toBe('nothing yet')
    expect(proxy.bytes).toEqual(delivered)
    expect(proxy.open).toBe(1)
    await proxy.resume()
    expect((await withDeadline('the query answers', waitMs, query)).rows).toEqual([{ n: 1 }])
  })

  test('refuses new connections until it resumes, and leaves open ones alone', async () => {
    const one = await client()
    proxy.refuse()
    await expect(client()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect((await one.query('select 1')).rowCount).toBe(1)
    await proxy.resume()
    expect((await (await client()).query('select 1')).rowCount).toBe(1)
  })

  test('swallows what is said on a connection, tells nobody, and lets new ones work', async () => {
    const [one, other] = [await client(), await client()]
    proxy.swallow((connection) => connection === 1)
    const query = one.query('select 1 as n')
    const first = await Promise.race([
      query.catch(() => 'cut'),
      new Promise((done) => setTimeout(done, 300, 'nothing')),
    ])
    expect(first).toBe('nothing')
    expect((await other.query('select 2 as n')).rows).toEqual([{ n: 2 }])
    expect((await (await client()).query('select 3 as n')).rows).toEqual([{ n: 3 }])
    await proxy.resume()
    const second = await Promise.race([
      query.catch(() => 'cut'),
      new Promise((done) => setTimeout(done, 300, 'nothing')),
    ])
    expect(second).toBe('nothing')
    const { processID: pid } = one as unknown as { processID: number }
    one.connection.stream.destroy()
    await new Promise((done) => setTimeout(done, 200))
    // Its server does not know that the client has gone.
    expect((await other.query('select from pg_stat_activity where pid = $1', [pid])).rowCount).toBe(1)
  })

  test('cuts the connections that its plan names, at the same bytes whenever the seed is the same', async () => {
    const bytesOf = async (seed: number): Promise<number[]> => {
      const { host, port } = inject('postgres')
      const cuts = { seed, share: 0.5, withinBytes: 100_000 }
      await using bad = await startChaosProxy({ target: { host, port }, cuts })
      const seen: number[] = []
      for (let n = 0; n < 12; n += 1) {
        const before = bad.bytes.toClient + bad.bytes.toServer
        const one = new pg.Client({
          connectionString: bad.url(databaseUrl('postgres')),
          connectionTimeoutMillis: waitMs,
        })
        one.on('error', () => undefined)
        const outcome = await one
          .connect()
          .then(async () => await one.query(`select repeat('x', 200000)`))
          .then(
            () => 0,
            () => bad.bytes.toClient + bad.bytes.toServer - before,
          )
        seen.push(outcome)
        if (outcome === 0) await one.end()
      }
      expect(bad.met).toEqual({ connections: 12, cut: seen.filter((cut) => cut > 0).length })
      return seen
    }
    const [first, again, other] = [await bytesOf(1), await bytesOf(1), await bytesOf(2)]
    expect(again).toEqual(first)
    expect(other).not.toEqual(first)
    expect(first.filter((cut) => cut > 0).length).toBeGreaterThan(2)
    expect(first.filter((cut) => cut === 0).length).toBeGreaterThan(2)
  })

  test('lets no connection live longer than the plan says', async () => {
    proxy.cuts({ seed: 3, everyBytes: 1_000_000 })
    const one = await client()
    const before = proxy.bytes.toClient
    await expect(one.query(`select repeat('x', 3000000)`)).rejects.toThrow(/ECONNRESET|terminated/)
    expect(proxy.bytes.toClient - before).toBeLessThanOrEqual(1_000_000)
    expect(proxy.bytes.toClient - before).toBeGreaterThan(400_000)
    proxy.cuts(undefined)
    expect((await (await client()).query(`select repeat('x', 3000000)`)).rowCount).toBe(1)
  })

  test('can answer with another process id, as a pooler does', async () => {
    proxy.rewrite((bytes) => {
      // BackendKeyData: 'K', its length 12, the process id, the secret.
      const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
      if (at >= 0) bytes.writeInt32BE(4711, at + 5)
      return bytes
    })
    const one = await client()
    const { rows } = await one.query('select pg_backend_pid() as pid')
    expect((one as unknown as { processID: number }).processID).toBe(4711)
    expect(rows).not.toEqual([{ pid: 4711 }])
  })
})

test('Latency is added to every round trip, not to every piece', async () => {
  const { host, port } = inject('postgres')
  await using slow = await startChaosProxy({ target: { host, port }, latencyMs: 60 })
  const one = new pg.Client({ connectionString: slow.url(databaseUrl('postgres')), connectionTimeoutMillis: waitMs })
  await one.connect()
  const startedAt = performance.now()
  await one.query('select 1')
  const roundTripMs = performance.now() - startedAt
  await one.query(`select repeat('x', 20000000)`)
  const longMs = performance.now() - startedAt - roundTripMs
  await one.end()
  expect(roundTripMs).toBeGreaterThan(110)
  // 20 MB come in more than 300 pieces: one after the other they would take 18 s.
  expect(longMs).toBeLessThan(5000)
})

test('A half-closed connection stays open the other way', async () => {
  await using stack = new AsyncDisposableStack()
  const echo = createServer({ allowHalfOpen: true }, (socket) => {
    const heard: Buffer[] = []
    socket.on('data', (bytes) => heard.push(bytes))
    socket.on('end', () => socket.end(Buffer.concat(heard)))
  }).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  stack.defer(() => void echo.close())
  const { port } = echo.address() as { port: number }
  const between = stack.use(await startChaosProxy({ target: { host: '127.0.0.1', port } }))
  const socket = connect({ port: between.port, host: between.host, allowHalfOpen: true })
  socket.end('said before closing')
  const [answer] = (await withDeadline('the answer', waitMs, once(socket, 'data'))) as [Buffer]
  expect(answer.toString()).toBe('said before closing')
})

test('A target that is not there closes the connection at once', async () => {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  await once(probe, 'close')
  await using nowhere = await startChaosProxy({ target: { host: '127.0.0.1', port } })
  const socket = connect({ port: nowhere.port, host: nowhere.host })
  socket.on('error', () => undefined)
  await withDeadline('the connection closes', waitMs, once(socket, 'close'))
  expect(socket.bytesRead).toBe(0)
})
