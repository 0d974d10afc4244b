import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { freePort } from '@multiboard-sync/shared/testing/postgres/free-port'
import { until } from '@multiboard-sync/shared/testing/postgres/deadline'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { makeOrder, newStateDir, writeInstallation, type Keys } from './trust/agents.ts'

/* The daemon as a process, a control plane that is only a poll, and those who ask whether the daemon is well. */

const MAIN = new URL('../src/main.ts', import.meta.url).pathname
const CACHE = new URL('../../.cache/compile', import.meta.url).pathname
/** Starting a process takes seconds on a busy machine. */
const WAIT_MS = 40_000
vi.setConfig({ testTimeout: 120_000 })

let folder: string
let keys: Keys
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'health-'))
  keys = await writeInstallation(folder)
})
afterAll(async () => await rm(folder, { recursive: true }))

/** What a poll is answered with: nothing to do, nothing at all, or nothing that is ours. */
let answers: 'well' | 'never' | 'foreign'
let polls: number
/** Given to the next poll. */
let order: string | undefined
let plane: Server
let stateDir: string
beforeEach(async () => {
  stateDir = await newStateDir()
  answers = 'well'
  polls = 0
  order = undefined
  plane = createServer((request, response) => {
    void text(request).then((body) => {
      if (request.url?.endsWith('/poll')) polls += 1
      if (answers === 'never') return
      response.writeHead(answers === 'well' ? 200 : 502, { 'content-type': 'application/json' })
      response.end(JSON.stringify(answerTo(request.url ?? '', body)))
    })
  })
  plane.listen(0, '127.0.0.1')
  await once(plane, 'listening')
})
afterEach(async () => {
  plane.close()
  plane.closeAllConnections()
  await rm(stateDir, { recursive: true })
})

/** What a control plane would say that takes everything. */
function answerTo(path: string, body: string): object {
  if (path.endsWith('/accept')) return { lease_ms: 90_000 }
  const { events = [], last_aseq: last = 0 } = JSON.parse(body) as { events?: { aseq: number }[]; last_aseq?: number }
  const ack_aseq = events.at(-1)?.aseq ?? last
  if (path.endsWith('/report')) return { lease_ms: 90_000, cancel: false, ack_aseq, next_batch_ms: 100 }
  if (path.endsWith('/complete')) return { state: 'failed', ack_aseq }
  const given = order
  order = undefined
  return { poll_after_ms: 500, cancel: [], ...(given === undefined ? {} : { order: given }) }
}

interface Watched extends AsyncDisposable {
  daemon: Daemon
  get(path: string): Promise<{ status: number; text: string }>
}

async function start(env: Record<string, string> = {}): Promise<Watched> {
  const health = `127.0.0.1:${await freePort()}`
  const daemon = await startDaemon({
    ...keys.files,
    AGENT_ID: 'vps1',
    AGENT_STATE_DIR: stateDir,
    CONTROL_PLANE_URL: `http://127.0.0.1:${(plane.address() as AddressInfo).port}`,
    HEALTH_LISTEN: health,
    S3_ENDPOINT: 'http://127.0.0.1:9',
    S3_BUCKET: 'archive',
    S3_ACCESS_KEY_ID: 'canary-id',
    S3_SECRET_ACCESS_KEY: 'canary-secret',
    NODE_COMPILE_CACHE: CACHE,
    ...env,
  })
  await until('the daemon listens', WAIT_MS, () => daemon.log().includes('The agent polls.'))
  return {
    daemon,
    get: async (path) => {
      const response = await fetch(`http://${health}${path}`, { signal: AbortSignal.timeout(WAIT_MS) })
      return { status: response.status, text: await response.text() }
    },
    [Symbol.asyncDispose]: async () => await daemon.kill(),
  }
}

/** `agent health`, with nothing but the folder in its environment. */
async function health(...args: string[]): Promise<{ code: number; out: string }> {
  return await new Promise((resolve) => {
    const env = { AGENT_STATE_DIR: stateDir, NODE_COMPILE_CACHE: CACHE }
    execFile(process.execPath, [MAIN, 'health', ...args], { env, timeout: WAIT_MS }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, out: stdout + stderr }),
    )
  })
}

test('a daemon that polls is well and ready, tells its metrics, and leaves no sign of life when it has ended', async () => {
  expect(await health()).toEqual({ code: 1, out: expect.stringContaining('holds no alive.json') })
  await using watched = await start()
  await until('it is ready', WAIT_MS, async () => (await watched.get('/readyz')).status === 200)
  expect(await health()).toEqual({ code: 0, out: expect.stringMatching(/^The daemon of agent vps1 .+; it polls\.\n$/) })
  const told = JSON.parse((await health('--json', '--max-age', '120')).out)
  expect(told).toMatchObject({ ok: true, remarks: [], heartbeat: { agent: 'vps1', pid: watched.daemon.pid } })
  expect(JSON.parse((await watched.get('/healthz')).text)).toMatchObject({
    ok: true,
    heartbeat: { boot_id: told.heartbeat.boot_id },
  })

  const { status, text } = await watched.get('/metrics')
  expect(status).toBe(200)
  expect(text).toMatch(/^multiboard_sync_info\{agent="vps1",version="[\d.]+"\} 1$/m)
  expect(text).toMatch(/^multiboard_sync_polls_total [1-9]\d*$/m)
  expect(text).toMatch(/^multiboard_sync_ready 1$/m)
  expect(text).toMatch(/^multiboard_sync_last_poll_timestamp_seconds 1\d{9}(\.\d+)?$/m)
  expect(text).toMatch(/^multiboard_sync_outbox_bytes 0$/m)
  expect(text).not.toContain('canary')
  expect((await watched.get('/other')).status).toBe(404)

  watched.daemon.send('SIGTERM')
  expect(await watched.daemon.exited()).toBe(0)
  expect((await health()).code).toBe(1)
})

test('a job is counted when it has ended, and an order that is refused as well', async () => {
  await using watched = await start()
  const origin = `http://127.0.0.1:${(plane.address() as AddressInfo).port}`
  const params = { kind: 'sync', source: 'production', target: 'staging', engine: 'auto' } as const
  order = (await makeOrder(keys, { agent: 'vps1', origin, params })).token
  // The object store is away, which ends the job before it has read anything.
  const metrics = async (): Promise<string> => (await watched.get('/metrics')).text
  await until('the job is counted', WAIT_MS, async () =>
    /_jobs_total\{kind="sync",outcome="failed"\} 1/.test(await metrics()),
  )
  expect(await metrics()).toMatch(/^multiboard_sync_phase_duration_seconds_count\{kind="sync",phase="preflight"\} 1$/m)
  expect(await metrics()).not.toContain('last_success_timestamp_seconds{')
  order = (await makeOrder(keys, { agent: 'vps2', origin, params })).token
  await until('the refusal is counted', WAIT_MS, async () =>
    (await metrics()).includes('multiboard_sync_orders_refused_total{code="order-wrong-audience"} 1'),
  )
  expect((await health()).code).toBe(0)
})

test('a control plane that is away is no reason to start the daemon anew, and it is not ready', async () => {
  answers = 'foreign'
  await using watched = await start()
  await until('a poll has failed', WAIT_MS, async () =>
    (await watched.get('/metrics')).text.includes('code="control-plane-unreachable"'),
  )
  expect((await watched.get('/readyz')).status).toBe(503)
  expect((await watched.get('/healthz')).status).toBe(200)
  const { code, out } = await health()
  expect(code).toBe(0)
  expect(out).toMatch(
    /^warning: The control plane has not answered since the daemon began \(control-plane-unreachable\)\./m,
  )
  answers = 'well'
  await until('it is ready again', WAIT_MS, async () => (await watched.get('/readyz')).status === 200)
})

test('a daemon whose event loop hangs, and one that was killed, are not well', async () => {
  await using watched = await start()
  watched.daemon.send('SIGSTOP')
  await until('it counts as gone', WAIT_MS, async () => (await health('--max-age', '1')).code === 1)
  expect((await health('--max-age', '1')).out).toMatch(/^unwell: The last sign of life is \d+ s old/m)
  watched.daemon.send('SIGCONT')
  await until('it lives again', WAIT_MS, async () => (await health('--max-age', '1')).code === 0)
  await watched.daemon.kill()
  await until('it counts as gone', WAIT_MS, async () => (await health('--max-age', '1')).code === 1)
})

test('the first signal waits for the answer to a poll, the second does not', async () => {
  answers = 'never'
  await using watched = await start()
  await until('a poll is under way', WAIT_MS, () => polls > 0)
  watched.daemon.send('SIGTERM')
  await until('it was heard', WAIT_MS, () => watched.daemon.log().includes('Stopping: no new job begins.'))
  expect(JSON.parse((await watched.get('/readyz')).text)).toMatchObject({ ok: false, heartbeat: { draining: true } })
  const askedAt = performance.now()
  watched.daemon.send('SIGTERM')
  expect(await watched.daemon.exited()).toBe(0)
  expect(performance.now() - askedAt).toBeLessThan(3_000)
})

test('words that mean nothing, and a file that is no sign of life, are told in a sentence', async () => {
  for (const args of [['--max-age', 'soon'], ['--colour'], ['now']]) {
    expect(await health(...args), args.join(' ')).toEqual({ code: 2, out: expect.stringMatching(/^usage: .+\nhint: /) })
  }
  await mkdir(stateDir, { recursive: true })
  await writeFile(join(stateDir, 'alive.json'), '{"at":"2026-')
  expect(await health()).toEqual({
    code: 1,
    out: expect.stringMatching(/^unwell: alive\.json .+ is not what a daemon/),
  })
})
