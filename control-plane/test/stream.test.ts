import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { expect, test } from 'vitest'
import { allFrames, framesOf, openStream, type Frame } from './read-stream.ts'
import { adminToken, eventsOf, startSurroundings, type Agent, type Surroundings } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }
const fast = { stream: { pollMs: 30 } }
const progress = {
  phase: 'exporting',
  tables_done: 0,
  tables_total: 3,
  rows: 1,
  bytes: 1,
  bytes_total: 9,
  bytes_per_second: 1,
  elapsed_seconds: 1,
}

async function begun(
  here: Surroundings,
): Promise<{ agent: Agent; order: Awaited<ReturnType<Agent['begin']>>; url: string }> {
  const agent = await here.registerAgent('vps')
  const { id } = await here.ask(sync)
  return { agent, order: await agent.begin(), url: `${here.control.url}/v1/jobs/${id}/events` }
}

const idsOf = (frames: Frame[]): number[] => frames.flatMap(({ id }) => (id === undefined ? [] : [Number(id)]))

test('G12: a stream begins with the state, tells each event, ends with the job, and then stays closed', async () => {
  await using here = await startSurroundings(fast)
  const { agent, order, url } = await begun(here)
  await agent.report(order, eventsOf(1, 1), { progress })
  const response = await openStream(url)
  expect(response.headers.get('content-type')).toContain('text/event-stream')
  expect(response.headers.get('cache-control')).toBe('no-cache, no-transform')
  expect(response.headers.get('x-accel-buffering')).toBe('no')
  const reading = allFrames(response)
  await sleep(100)
  await agent.report(order, eventsOf(2, 2), { phase: 'loading', progress: { ...progress, rows: 2 } })
  await sleep(200)
  await agent.complete(order, {}, 2)
  const frames = await reading

  expect(frames[0]).toMatchObject({ retry: '2000' })
  expect(frames[1]).toEqual({ event: 'progress', data: progress })
  expect(frames[2]).toMatchObject({ event: 'job', data: { state: 'running', phase: 'exporting' } })
  expect(idsOf(frames)).toEqual([1, 2, 3, 4, 5, 6])
  expect(frames.filter(({ event }) => event === 'progress').at(-1)).toMatchObject({ data: { rows: 2 } })
  expect(frames.filter(({ event }) => event === 'job').map(({ data }) => data)).toContainEqual(
    expect.objectContaining({ state: 'running', phase: 'loading' }),
  )
  const end = frames.at(-1)
  expect(end).toMatchObject({ event: 'end', data: { state: 'succeeded' } })
  expect(end).not.toHaveProperty('id')

  expect((await openStream(url, { 'last-event-id': '6' })).status).toBe(204)
  expect((await openStream(`${url}?after=6`)).status).toBe(204)
  expect((await openStream(`${url}?after=6`, { 'last-event-id': '2' })).status).toBe(200)
  const again = await allFrames(await openStream(url, { 'last-event-id': '4' }))
  expect(idsOf(again)).toEqual([5, 6])
  expect(again.at(-1)).toMatchObject({ event: 'end' })
  expect(idsOf(await allFrames(await openStream(url)))).toEqual([1, 2, 3, 4, 5, 6])
  expect(here.logged).toEqual([])
})

// As functions on a busy machine each of hundreds of requests opens an app and a connection: minutes instead of seconds.
test(
  'G12: a client whose connection is cut again and again misses nothing and sees nothing twice',
  { timeout: 240_000 },
  async () => {
    await using here = await startSurroundings({ stream: { pollMs: 10 } })
    const { agent, order, url } = await begun(here)
    const { hostname, port, pathname } = new URL(url)
    await using proxy = await startChaosProxy({ target: { host: hostname, port: Number(port) } })
    const total = 600
    const upload = async (): Promise<void> => {
      for (let from = 1; from <= total; from += 15) {
        const { status } = await agent.report(order, eventsOf(from, from + 14), {
          progress: { ...progress, rows: from },
        })
        if (status !== 200) throw new Error(`report answered ${status}`)
      }
      await agent.complete(order, {}, total)
    }
    const seen: number[] = []
    let connections = 0
    /** Counted from the last event on. */
    let deadline = Infinity
    const watch = async (): Promise<void> => {
      for (;;) {
        if (performance.now() > deadline) throw new Error(`the stream did not end; ${seen.length} events seen`)
        try {
          const response = await openStream(`http://${proxy.host}:${proxy.port}${pathname}`, {
            'last-event-id': String(seen.at(-1) ?? 0),
          })
          connections += 1
          if (response.status === 204) return
          for await (const { id } of framesOf(response)) if (id !== undefined) seen.push(Number(id))
        } catch (error) {
          // Cut: TypeError of fetch or of its body.
          if (!(error instanceof TypeError)) throw error
        }
      }
    }
    let isDone = false
    const cut = async (): Promise<void> => {
      let before = 0
      while (!isDone) {
        await sleep(5 + Math.random() * 60)
        // Where opening a stream takes longer than that, as with an app for each request, only these cuts meet one.
        const isPatient = Math.random() < 0.5
        for (let ms = 0; isPatient && !isDone && connections === before && ms < 1000; ms += 5) await sleep(5)
        before = connections
        if (Math.random() < 0.5) proxy.cutAfterBytes(Math.floor(Math.random() * 3000), 'toClient')
        else proxy.cutAll()
      }
    }
    const cutting = cut()
    const watching = watch()
    await upload()
    // A function that ends with its answer may leave a stream's row behind, which counts for 45 seconds (stream-slot.ts).
    deadline = performance.now() + 60_000
    isDone = true
    await cutting
    await proxy.resume()
    await watching
    expect(connections).toBeGreaterThan(5)
    // queued, leased, accepted, the agent's events, succeeded
    expect(seen).toEqual(Array.from({ length: total + 4 }, (_, index) => index + 1))
  },
)

test('a silent stream is kept alive by comments, and rotates in time', async () => {
  await using here = await startSurroundings({ stream: { pollMs: 20, heartbeatMs: 60, rotateMs: 400 } })
  const { url } = await begun(here)
  const startedAt = performance.now()
  const frames = await allFrames(await openStream(url))
  expect(performance.now() - startedAt).toBeGreaterThan(350)
  expect(frames.filter(({ comment }) => comment !== undefined).length).toBeGreaterThanOrEqual(2)
  expect(frames.some(({ event }) => event === 'end')).toBe(false)
})

test('a stream shows that a job is lost, and goes on when its agent comes back', async () => {
  await using here = await startSurroundings({ ...fast, lease: { leaseMs: 500, graceMs: 200 } })
  const { agent, order, url } = await begun(here)
  const states: unknown[] = []
  for await (const { event, data } of framesOf(await openStream(url))) {
    if (event !== 'job' && event !== 'end') continue
    const { state } = data as { state: string }
    states.push(state)
    if (state === 'lost') await agent.report(order)
    if (states.length === 3) await agent.complete(order)
  }
  expect(states.slice(0, 3)).toEqual(['running', 'lost', 'running'])
  expect(states.at(-1)).toBe('succeeded')
})

test('a database that fails in the middle ends the stream without a word of it to the client', async () => {
  await using here = await startSurroundings(fast)
  const { url } = await begun(here)
  const response = await openStream(url)
  const reading = allFrames(response)
  await sleep(100)
  const client = await here.database.client()
  await client.query('alter table multiboard.jobs rename to hidden')
  const frames = await reading
  expect(frames.some(({ event }) => event === 'error' || event === 'end')).toBe(false)
  expect(JSON.stringify(frames)).not.toContain('relation')
  expect(here.logged.join('\n')).toContain('stream-failed')
})

/** How many statements the database has served. PostgreSQL publishes its statistics at most once a second. */
async function statements(here: Surroundings): Promise<number> {
  await sleep(1200)
  const client = await here.database.client()
  const { rows } = await client.query<{ n: string }>(
    'select xact_commit as n from pg_stat_database where datname = current_database()',
  )
  return Number(rows[0]?.n)
}
/** In 1.2 s: our own connecting and asking, and PostgreSQL's housekeeping. A stream that looks makes 60. */
const STANDING_STILL = 15

/** Waits for such a second; PostgreSQL's own autovacuum may disturb one or two. */
async function untilStill(here: Surroundings): Promise<void> {
  for (let tries = 0, before = await statements(here); tries < 6; tries += 1) {
    const now = await statements(here)
    if (now - before < STANDING_STILL) return
    before = now
  }
  throw new Error('the server goes on looking at its database')
}

test('the server stops looking as soon as the client has left', async () => {
  await using here = await startSurroundings({ stream: { pollMs: 20 } })
  const { url } = await begun(here)
  const gone = new AbortController()
  const response = await openStream(url, {}, gone.signal)
  await response.body?.getReader().read()
  const before = await statements(here)
  expect(await statements(here)).toBeGreaterThan(before + STANDING_STILL)
  gone.abort()
  await untilStill(here)
})

test('G12: a client that does not read makes the server stand still, not fill its memory', async () => {
  await using here = await startSurroundings({ stream: { pollMs: 20 } })
  const { agent, order, url } = await begun(here)
  // 30 MB: more than the buffers of both ends of a loopback socket hold.
  const [blob, total] = ['x'.repeat(15_000), 2000]
  for (let from = 1; from <= total; from += 50) {
    const batch = eventsOf(from, from + 49).map((event) => ({ ...event, data: { blob } }))
    expect((await agent.report(order, batch)).status).toBe(200)
  }
  const { hostname, port, pathname } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.pause()
  socket.write(
    `GET ${pathname} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer ${adminToken}\r\n\r\n`,
  )
  await sleep(1500)
  await untilStill(here)

  // Once it reads, it gets all of it.
  let received = 0
  socket.on('data', (bytes) => (received += bytes.length))
  socket.resume()
  const deadline = performance.now() + 20_000
  while (received < blob.length * total && performance.now() < deadline) await sleep(50)
  socket.destroy()
  expect(received).toBeGreaterThan(blob.length * total)
})

test('stopping the server ends its streams at once, and tells their clients when to come back', async () => {
  const here = await startSurroundings(fast)
  try {
    const { url } = await begun(here)
    const reading = allFrames(await openStream(url))
    await sleep(100)
    const startedAt = performance.now()
    await here.control.close()
    const last = (await reading).at(-1)
    expect(last).toEqual({ retry: expect.stringMatching(/^\d{4}$/) })
    expect(Number(last?.retry)).toBeGreaterThanOrEqual(3000)
    expect(performance.now() - startedAt).toBeLessThan(2500)
  } finally {
    await here[Symbol.asyncDispose]()
  }
})
