import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobEvent } from '@multiboard-sync/shared/event'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { until, withDeadline } from '@multiboard-sync/shared/testing/postgres/deadline'
import { EventSource } from 'eventsource'
import { expect, test } from 'vitest'
import { allFrames, openStream } from './read-stream.ts'
import { startProcess } from './start-process.ts'
import { adminToken, eventsOf, startSurroundings, type Surroundings } from './surroundings.ts'

const sync = { kind: 'sync', source: 'production', target: 'staging' }
const KILLS = 1000
/** The stream never waits for events, and more come while it is followed. */
const AHEAD = 400
// Ten seconds on a quiet machine.
const WATCH_TIMEOUT_MS = 120_000
const TEST_TIMEOUT_MS = 150_000

test(
  'G12: an EventSource that is cut off 1,000 times, in the middle of events, sees each once and in order',
  { timeout: TEST_TIMEOUT_MS },
  async () => {
    await using here = await startSurroundings({ stream: { pollMs: 5 } })
    const agent = await here.registerAgent('vps')
    const { id } = await here.ask(sync)
    const order = await agent.begin()
    const { body } = await here.person('POST', `/v1/jobs/${id}/stream-ticket`)
    const direct = new URL((body as unknown as { url: string }).url)
    await using proxy = await startChaosProxy({ target: { host: direct.hostname, port: Number(direct.port) } })
    // The one thing we change: a thousand times two seconds would be too long.
    proxy.rewrite((bytes) => Buffer.from(bytes.toString('latin1').replace('retry: 2000', 'retry: 0001'), 'latin1'))

    let sent = 0
    const upload = async (): Promise<void> => {
      const { status } = await agent.report(order, eventsOf(sent + 1, sent + 200))
      if (status !== 200) throw new Error(`report answered ${status}`)
      sent += 200
    }
    while (sent < KILLS * 3) await upload()

    const seen: number[] = []
    let ended = false
    let opened = 0
    const source = new EventSource(proxy.url(direct.href))
    source.addEventListener('open', () => (opened += 1))
    let wrong: string | undefined
    source.addEventListener('event', ({ data }) => {
      const { pos } = JSON.parse(String(data)) as JobEvent
      if (pos !== seen.length + 1) wrong ??= `event ${pos} came after ${seen.length}`
      seen.push(pos)
    })
    source.addEventListener('end', () => (ended = true))
    const closed = (): boolean => source.readyState === source.CLOSED

    let kills = 0
    const deadline = performance.now() + WATCH_TIMEOUT_MS
    while (kills < KILLS) {
      expect(wrong, `after ${kills} cuts`).toBeUndefined()
      if (performance.now() > deadline || closed()) throw new Error(`${kills} kills, closed: ${closed()}`)
      // Head and snapshot are some 1,400 bytes, an event some 190: the cut falls into any of them.
      const budget = 1200 + Math.floor(Math.random() * 1600)
      const cutAt = proxy.bytes.toClient + budget
      proxy.cutAfterBytes(budget, 'toClient')
      while (proxy.bytes.toClient < cutAt && !wrong && performance.now() < deadline) {
        if (seen.length + AHEAD >= sent) await upload()
        await sleep(1)
      }
      kills += 1
    }
    await proxy.resume()
    await agent.complete(order, {}, sent)
    await until('the end of the stream', WATCH_TIMEOUT_MS, () => ended && closed(), 10)
    // queued, leased, accepted, the agent's, succeeded
    expect(seen).toEqual(Array.from({ length: sent + 4 }, (_, index) => index + 1))
    expect(sent).toBeGreaterThan(KILLS)
    expect(opened).toBeGreaterThan(KILLS / 2)
  },
)

const BLOB_BYTES = 15_000
// 60 MB: more than the buffers of both ends of a loopback socket hold, and far more than a viewer may cost.
const BLOBS = 4000
const FEW_BLOBS = 300
const PAUSED_MS = 4000

/** A job that waits, with so many events that somebody wrote there. */
async function withEvents(here: Surroundings, count: number): Promise<string> {
  const { id } = await here.ask(sync)
  const client = await here.database.client()
  await client.query(
    `insert into multiboard.events (job, pos, src, type, level, at, data)
     select $1, 10 + n, 'agent', 'noise', 'info', now(), jsonb_build_object('blob', repeat('x', $2)) from generate_series(1, $3::integer) n`,
    [id, BLOB_BYTES, count],
  )
  await client.query('update multiboard.jobs set last_pos = 10 + $2 where id = $1', [id, count])
  return `/v1/jobs/${id}/events`
}

async function ask(url: string, path: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.write(
    `GET ${path} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer ${adminToken}\r\n\r\n`,
  )
  return socket
}

/** Reads until as many bytes as all events have came. */
async function readAll(socket: Socket, count: number): Promise<void> {
  let received = 0
  socket.on('data', (bytes: Buffer) => (received += bytes.length))
  await until('all events', 20_000, () => received > BLOB_BYTES * count)
  socket.destroy()
}

async function rssMb(pid: number): Promise<number> {
  const [, kb = ''] = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kb) / 1024
}

/** The most memory that a process has while `work` is done, in MB. */
async function peakDuring(pid: number, work: Promise<void>): Promise<number> {
  let peak = 0
  let isDone = false
  const done = work.then(() => (isDone = true))
  while (!isDone) {
    peak = Math.max(peak, await rssMb(pid))
    await Promise.race([done, sleep(50)])
  }
  await done
  return peak
}

test.skipIf(process.platform !== 'linux')(
  'G12: a viewer that does not read costs the server less than 16 MB',
  async () => {
    let pid = 0
    await using here = await startSurroundings(
      {},
      {
        start: async (options) => {
          const running = await startProcess(options)
          pid = running.pid
          return running
        },
      },
    )
    await here.registerAgent('vps')
    // What it takes to send something to one who reads is not what one costs who does not.
    const few = await withEvents(here, FEW_BLOBS)
    const reading = await peakDuring(pid, readAll(await ask(here.control.url, few), FEW_BLOBS))
    const path = await withEvents(here, BLOBS)
    const socket = await ask(here.control.url, path)
    socket.pause()
    const paused = await peakDuring(pid, sleep(PAUSED_MS))
    expect(paused - reading).toBeLessThan(16)
    await readAll(socket.resume(), BLOBS)
  },
)

test('T19: a viewer that reads nothing for four heartbeats is cut off, and gives its place back', async () => {
  await using here = await startSurroundings({ stream: { heartbeatMs: 250 } })
  await here.registerAgent('vps')
  const path = await withEvents(here, BLOBS)
  const socket = await ask(here.control.url, path)
  socket.pause().on('error', () => undefined)
  const client = await here.database.client()
  const open = async (): Promise<number> => {
    const { rows } = await client.query<{ n: number }>('select count(*)::integer as n from multiboard.streams')
    return rows[0]?.n ?? -1
  }
  await until('the stream is open', 10_000, async () => (await open()) === 1)
  await until('the stream was cut', 10_000, async () => (await open()) === 0)
  const cut = once(socket, 'close')
  socket.resume()
  await withDeadline('the cut reaches the client', 10_000, cut)
})

test('a process that gets SIGTERM in the middle of streams ends them whole, and itself, at once', async () => {
  await using here = await startSurroundings({}, { start: startProcess })
  const agent = await here.registerAgent('vps')
  const { id: running } = await here.ask(sync)
  const order = await agent.begin()
  await agent.report(order, eventsOf(1, 200))
  const url = `${here.control.url}/v1/jobs/${running}/events`
  const open = await Promise.all([1, 2, 3].map(async () => await openStream(url)))
  const reading = open.map(allFrames)
  await sleep(300)
  const startedAt = performance.now()
  await here.control.close()
  expect(performance.now() - startedAt).toBeLessThan(3000)
  // No client sees a broken connection or half an event, and each comes back to the next process.
  for (const frames of await Promise.all(reading)) {
    const positions = frames.flatMap(({ id }) => (id === undefined ? [] : [Number(id)]))
    expect(positions).toEqual(positions.map((_, index) => index + 1))
    expect(frames.some(({ event }) => event === 'end')).toBe(false)
  }
  // Nothing went wrong: that it stops is all it has to say.
  expect(here.logged.map((line) => JSON.parse(line) as unknown)).toEqual([
    expect.objectContaining({ level: 'info', event: 'stopping', signal: 'SIGTERM' }),
  ])
})
