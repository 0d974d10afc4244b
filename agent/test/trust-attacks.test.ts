import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { viewPolicy } from '@multiboard-sync/shared/policy-view'
import { completeRequestSchema } from '@multiboard-sync/shared/protocol'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { enrollCommand } from '../src/cli/key-commands.ts'
import { errorText } from '../src/cli/print-result.ts'
import { readEnrollEnv, readEnv } from '../src/env.ts'
import { openContext, type OpenedContext } from '../src/open-context.ts'
import { connectControlPlane } from '../src/poll/control-plane-client.ts'
import { keepLease } from '../src/report/keep-lease.ts'
import { openLeaseMemory } from '../src/report/lease-memory.ts'
import { openSmallDisk } from './matrix/small-disk.ts'
import { openControl } from './road/control.ts'
import { openWorld } from './road/world.ts'
import { makeOrder, newStateDir, startAgent, writeInstallation, type Keys, type RunningAgent } from './trust/agents.ts'
import { startPlane, type Plane, type Seen } from './trust/plane.ts'

/** What was found by attacking the agent: each of these was a fault. */

const STEP_TIMEOUT_MS = 40_000
const JOB = 'j4k7q2m9xw1ab'

let stack: AsyncDisposableStack
let keys: Keys
let plane: Plane
let seen: Seen
let stateDir: string
/** The first thing that a job does; it ends there. */
let check: () => Promise<void>

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  const dir = await mkdtemp(join(tmpdir(), 'trust-attacks-'))
  stack.defer(async () => await rm(dir, { recursive: true }))
  keys = await writeInstallation(dir)
  plane = stack.use(await startPlane(keys.agent.publicKey))
  seen = plane.agent('vps1')
  const made = await newStateDir()
  stack.defer(async () => await rm(made, { recursive: true }))
  stateDir = made
  check = async () => await Promise.reject(new SyncError('storage-failed', 'The bucket was not looked at.'))
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  stack.defer(() => stderr.mockRestore())
})

afterEach(async () => await stack.disposeAsync())

async function start(more: { tellForMs?: number } = {}): Promise<RunningAgent> {
  const env = {
    ...keys.files,
    AGENT_ID: 'vps1',
    AGENT_STATE_DIR: stateDir,
    S3_ENDPOINT: 'http://127.0.0.1:9',
    S3_BUCKET: 'archive',
    S3_ACCESS_KEY_ID: 'id',
    S3_SECRET_ACCESS_KEY: 'secret',
  }
  const store = { check: async () => await check(), listFolders: async (): Promise<string[]> => [] }
  const change = (opened: OpenedContext): OpenedContext => ({
    ...opened,
    context: { ...opened.context, store: { ...opened.context.store, ...store } },
  })
  return await startAgent(env, plane.origin, change, more)
}

async function give(): Promise<string> {
  const params = { kind: 'export', source: 'production' } as const
  const { token, order } = await makeOrder(keys, { agent: 'vps1', origin: plane.origin, params })
  seen.orders.push(token)
  return order.job.id
}

async function sees(what: string, isSeen: () => boolean): Promise<void> {
  await until(what, STEP_TIMEOUT_MS, () => (isSeen() ? true : undefined), 20)
}

test('G18: a job that failed for more reasons than a result may hold ends all the same, and says as many as fit', async () => {
  const details = Array.from({ length: 1500 }, (_, n) => `public.t${n}: ${'the target lacks a column, '.repeat(100)}`)
  check = async () =>
    await Promise.reject(new SyncError('schema-mismatch', 'x'.repeat(3000), { hint: 'y'.repeat(3000), details }))
  await using _agent = await start()
  await give()
  await sees('the end', () => seen.completions.length > 0)
  const result = seen.completions[0]?.body.result
  expect(result).toMatchObject({ outcome: 'refused', code: 'schema-mismatch', target_state: 'untouched' })
  expect(result?.details?.length).toBeGreaterThan(100)
})

test('G18: a job whose end the disk does not take is settled and told when there is room again, without a restart', async ({
  skip,
}) => {
  const disk = await openSmallDisk(2 * 1024 * 1024)
  if (typeof disk === 'string') return skip(disk)
  stack.use(disk)
  stateDir = join(disk.folder, 'state')
  let filler: AsyncDisposable | undefined
  // More than fits into the page that the journal has begun.
  const details = Array.from({ length: 100 }, (_, n) => `${n} ${'x'.repeat(200)}`)
  check = async () => {
    filler = await disk.fill(0)
    throw new SyncError('storage-failed', 'The bucket was not looked at.', { details })
  }
  await using _agent = await start()
  const job = await give()
  await sees('the full disk', () => filler !== undefined)
  await sleep(500)
  await filler?.[Symbol.asyncDispose]()
  await sees('the end', () => seen.completions.some((told) => told.job === job))
  expect(seen.completions[0]?.body.result).toMatchObject({ outcome: 'failed', target_state: 'untouched' })
})

test('G18: an end that a proxy does not let pass, because it is too large, keeps the agent from no other job', async () => {
  let runs = 0
  check = async () => {
    runs += 1
    return await Promise.reject(new SyncError('storage-failed', `Run ${runs}.`))
  }
  let asked: unknown
  let pages = 0
  let isMended = false
  seen.onRequest = (_endpoint, body) => (asked = body)
  seen.misbehave = (endpoint, response) => {
    if (endpoint !== 'complete' || isMended || completeRequestSchema.parse(asked).result.message !== 'Run 1.')
      return false
    pages += 1
    response.writeHead(413, { 'content-type': 'text/html' }).end('<h1>413 Request Entity Too Large</h1>')
    return true
  }
  await using _agent = await start({ tellForMs: 1500 })
  const [large, small] = [await give(), await give()]
  await sees('the end of the other job', () => seen.completions.some(({ job }) => job === small))
  expect(pages).toBeGreaterThan(0)
  isMended = true
  await sees('the end that was too large', () => seen.completions.some(({ job }) => job === large))
  expect(runs).toBe(2)
})

test('T20: what an agent says of the keys it trusts leaves out those that have expired, and is never more than may be said', async () => {
  const made = await Promise.all(
    Array.from({ length: 41 }, async (_, n) => {
      const { publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
      const jwk = await exportJWK(publicKey)
      const kid = await calculateJwkThumbprint(jwk)
      return { kid, use: 'order', jwk, ...(n === 20 ? { not_after: '2020-01-01T00:00:00Z' } : {}) }
    }),
  )
  await writeFile(keys.files.TRUST_FILE, JSON.stringify({ keys: made }))
  await using _agent = await start()
  await sees('a poll', () => seen.polls.length > 0)
  const told = seen.polls[0]?.trusted_kids
  expect(told).not.toContain(made[20]?.kid)
  // The youngest are added at the end.
  expect(told).toContain(made.at(-1)?.kid)
})

test("the lease's thread leaves the first report to the main thread, also when the control plane is away", async () => {
  let requests = 0
  const server = createServer((request) => {
    requests += 1
    request.socket.destroy()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  stack.defer(() => void server.close())
  const url = `http://127.0.0.1:${address.port}`
  const memory = openLeaseMemory()
  memory.noteMovement()
  await using _thread = keepLease({
    caller: async () => await Promise.resolve({ url, agent: 'vps1', key: keys.agent.privateKey, version: '1' }),
    job: JOB,
    epoch: 1,
    memory,
    onRenewed: () => undefined,
    onRefused: () => undefined,
    onEnd: () => undefined,
  })
  await sleep(6000)
  expect(requests).toBe(0)
})

test("the lease's thread reaches the control plane through the proxy that the environment names", async () => {
  const asked: string[] = []
  const proxy = createServer((request, response) => {
    asked.push(request.url ?? '')
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ lease_ms: 90_000, cancel: false, ack_aseq: 0, next_batch_ms: 2000 }))
  })
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '')
    socket.end()
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  stack.defer(() => void proxy.close())
  const address = proxy.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  vi.stubEnv('NODE_USE_ENV_PROXY', '1')
  vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${address.port}`)
  stack.defer(() => void vi.unstubAllEnvs())
  const memory = openLeaseMemory()
  memory.noteRenewal(memory.stamp(), 2000)
  memory.noteMovement()
  const url = 'http://sync.example.invalid'
  await using _thread = keepLease({
    caller: async () => await Promise.resolve({ url, agent: 'vps1', key: keys.agent.privateKey, version: '1' }),
    job: JOB,
    epoch: 1,
    memory,
    onRenewed: () => undefined,
    onRefused: () => undefined,
    onEnd: () => undefined,
  })
  await until('a request through the proxy', 8000, () => (asked.length > 0 ? true : undefined), 50)
})

/** Whatever is asked, this is answered. */
async function openLiar(status: number, body: object): Promise<string> {
  const type = status < 400 ? 'application/json' : 'application/problem+json'
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(status, { 'content-type': type }).end(JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(() => void server.close())
  stack.defer(() => server.closeAllConnections())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `http://127.0.0.1:${address.port}`
}

async function enrollAt(url: string): Promise<string> {
  const env = readEnrollEnv({ ...keys.files, AGENT_ID: 'vps1', CONTROL_PLANE_URL: url })
  const code = `mbse_${'a'.repeat(22)}`
  try {
    return (await enrollCommand(env, code, '1', AbortSignal.timeout(10_000))).text
  } catch (thrown) {
    return errorText(toSyncError(thrown))
  }
}

test('T24: whoever answers in the place of the control plane writes no line of their own into the terminal', async () => {
  const line = 'x\nto do     Run this.\u001b[2K\u009b1A'
  const said = [
    await enrollAt(await openLiar(200, { agent: 'vps1', signing_kid: line })),
    await enrollAt(
      await openLiar(403, { type: 'about:blank', title: line, status: 403, code: 'enrollment-refused', hint: line }),
    ),
    await enrollAt(
      await openLiar(422, {
        type: 'about:blank',
        title: 'No.',
        status: 422,
        code: line,
        errors: [{ field: line, message: line }],
      }),
    ),
  ]
  for (const text of said) {
    expect(text).not.toMatch(/^to do {5}Run this/m)
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u)
  }
})

test('a job that finds its own receipt says that its target was changed', async () => {
  check = async () =>
    await Promise.reject(new SyncError('already-done', 'This job has already changed its target once.'))
  await using _agent = await start()
  await give()
  await sees('the end', () => seen.completions.length > 0)
  expect(seen.completions[0]?.body.result).toMatchObject({ outcome: 'failed', target_state: 'changed' })
})

test('T9, G5: a report that was overtaken on its way takes back no swap: it is too late to cancel, and a lost job may have changed its target', async () => {
  const world = stack.use(await openWorld())
  const control = stack.use(await openControl(world))
  await using opened = await openContext(readEnv({ ...world.env, ...control.env }))
  const { context, key, trust } = opened
  const { privateKey } = key
  const url = control.env.CONTROL_PLANE_URL
  const agent = connectControlPlane({ url, agent: context.agent, key: privateKey, version: '1' })
  const signal = AbortSignal.timeout(STEP_TIMEOUT_MS)
  const { policy, policySha256: policy_sha256 } = context
  const about = { version: '1', boot_id: 'boot', policy: viewPolicy(policy), policy_sha256 }
  const poll = async () =>
    await agent.poll({ ...about, trusted_kids: trust.orderKids(), databases: [], running: [] }, signal)
  await poll()
  const { id } = await control.ask({ kind: 'sync', source: 'production', target: 'staging' })
  expect((await poll()).reply.order).toBeDefined()
  await agent.accept(id, { epoch: 1, verdict: 'accepted' }, signal)
  await agent.report(id, { epoch: 1, phase: 'swapping', stalled_ms: 0, events: [] }, signal)
  // Of the lease's thread, sent before and on another connection.
  await agent.report(id, { epoch: 1, phase: 'exporting', stalled_ms: 0, events: [] }, signal)
  expect(await control.call('POST', `/v1/jobs/${id}/cancel`)).toMatchObject({ status: 409, body: { code: 'too-late' } })
  await control.letLapse(id)
  expect(await control.job(id)).toMatchObject({ state: 'lost', target_state: 'unknown' })
})
