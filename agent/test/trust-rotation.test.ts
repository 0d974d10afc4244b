import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { jobViewSchema, type JobView } from '@multiboard-sync/shared/protocol'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair, calculateJwkThumbprint, type JWK } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startControlPlane, type RunningControlPlane } from '../../control-plane/src/start-control-plane.ts'
import { addKey, removeKey } from '../../scripts/keys/change-trust.ts'
import { makeControlPlaneKey } from '../../scripts/make-keys.ts'
import { freePort } from '../../shared/testing/postgres/free-port.ts'
import { until, withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { readState } from './road/compare-databases.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { openGate, type Caught, type Gate } from './road/gate.ts'
import { openWorld, writeTrust, type World } from './road/world.ts'

/** The control plane's key is exchanged, revoked and stolen, and the agent's clock set, while real jobs run. */

const STEP_TIMEOUT_MS = 50_000
const TEST_TIMEOUT_MS = 120_000
const ADMIN_TOKEN = 'an-admin-token-of-the-rotation-0123456789'
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }
const SQL = `
create table public."Component" (id bigserial primary key, name text not null);
insert into public."Component" (name) select 'part ' || n from generate_series(1, 50) n`
const TEN_MINUTES_MS = 600_000

let stack: AsyncDisposableStack
let world: World
let daemon: Daemon
let store: Gate
let databaseUrl: string
let port: number
let running: RunningControlPlane | undefined
let oldKey: JWK
let oldKid: string
let trustFile: string
let shiftFile: string

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  world = stack.use(await openWorld({ source: { sql: SQL } }))
  databaseUrl = stack.use(await createDatabase()).url
  store = stack.use(await openGate(new URL(world.store.endpoint)))
  const pair = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  oldKey = await exportJWK(pair.privateKey)
  const publicJwk = await exportJWK(pair.publicKey)
  oldKid = await calculateJwkThumbprint(publicJwk)
  await writeTrust(world.dir, [publicJwk])
  trustFile = join(world.dir, 'trust.json')
  shiftFile = join(world.dir, 'clock')
  port = await freePort()
  stack.defer(async () => await running?.close())
  await startWith(oldKey)
  const registered = await call('POST', '/v1/agents', { id: 'vps1', public_jwk: world.agentPublicJwk })
  if (registered.status !== 201) throw new Error(`registering answered ${registered.status}`)
  daemon = await startDaemon({
    ...world.env,
    CONTROL_PLANE_URL: `http://127.0.0.1:${port}`,
    S3_ENDPOINT: store.url(world.store.endpoint),
    NODE_OPTIONS: `--import ${new URL('trust/shift-clock.ts', import.meta.url).href}`,
    CLOCK_SHIFT_FILE: shiftFile,
  })
  stack.defer(async () => await daemon.kill())
  // Before it listens to signals they would end it.
  await until('the agent to be up', STEP_TIMEOUT_MS, () => daemon.log().includes('The agent polls'))
})

afterAll(async () => await stack.disposeAsync())

/** The control plane restarts with this key, as a deployment does. */
async function startWith(signingKey: JWK): Promise<void> {
  await running?.close()
  running = await startControlPlane({
    databaseUrl,
    signingKey,
    publicUrl: `http://127.0.0.1:${port}`,
    adminToken: ADMIN_TOKEN,
    // Long enough for a job that waits for its clock.
    lease: { leaseMs: 20_000, graceMs: 60_000 },
    host: '127.0.0.1',
    port,
    log: () => undefined,
  })
}

async function call(method: string, path: string, body?: unknown) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

async function ask(): Promise<JobView> {
  const asked = await until('an agent that may do the job', STEP_TIMEOUT_MS, async () => {
    const answer = await call('POST', '/v1/jobs', SYNC)
    return answer.body['code'] === 'agent-unknown' ? undefined : answer
  })
  return jobViewSchema.parse(asked.body)
}

async function ended(id: string): Promise<JobView> {
  return await until(`the end of ${id}`, STEP_TIMEOUT_MS, async () => {
    const view = jobViewSchema.parse((await call('GET', `/v1/jobs/${id}`)).body)
    return view.state === 'succeeded' || view.code !== null ? view : undefined
  })
}

/** A job that stands in the middle of its export. */
async function exporting(): Promise<{ job: JobView; caught: Caught }> {
  const held = withDeadline(
    'the export',
    STEP_TIMEOUT_MS,
    store.stopAt(/PUT \S+\/archives\/\S+public\.Component/, 'before'),
  )
  const job = await ask()
  return { job, caught: await held }
}

async function reload(): Promise<void> {
  const count = (): number => daemon.log().split('were read again').length
  const before = count()
  process.kill(daemon.pid, 'SIGHUP')
  await until('the reload', STEP_TIMEOUT_MS, () => count() > before)
}

async function shiftClock(ms: number): Promise<void> {
  await writeFile(shiftFile, String(ms))
  process.kill(daemon.pid, 'SIGUSR2')
}

const refusalsIn = (log: string): number => log.split('"code":"unauthorized"').length - 1

/** Until the agent has noticed that nobody believes its signatures. */
async function untilRefused(): Promise<void> {
  const before = refusalsIn(daemon.log())
  await until('a refused request', STEP_TIMEOUT_MS, () => refusalsIn(daemon.log()) > before)
}

test(
  'G20: the key of orders is exchanged while a job runs, without a pause, and one that is revoked is refused at once',
  { timeout: TEST_TIMEOUT_MS },
  async () => {
    const { job, caught } = await exporting()
    const next = await makeControlPlaneKey(join(world.dir, 'next'))
    const nextKey = JSON.parse(readFileSync(next.keyFile, 'utf8')) as JWK
    await addKey(trustFile, next.publicFile, 'order', { notBefore: new Date().toISOString() })
    await reload()
    await startWith(nextKey)
    caught.release()
    expect(await ended(job.id)).toMatchObject({ state: 'succeeded' })

    const second = await ask()
    expect(await ended(second.id)).toMatchObject({ state: 'succeeded' })
    const { body } = await call('GET', '/v1/agents')
    expect(body).toMatchObject({ agents: [{ id: 'vps1', trusted_kids: [oldKid, next.kid] }] })

    await removeKey(trustFile, oldKid)
    await reload()
    // Whoever has stolen the old key, or never heard that it was exchanged.
    await startWith(oldKey)
    const before = await readState(world.target.url)
    const third = await ask()
    expect(await ended(third.id)).toMatchObject({
      state: 'refused',
      code: 'order-unknown-key',
      target_state: 'untouched',
    })
    expect(await readState(world.target.url)).toEqual(before)
  },
)

test(
  'T6: a control plane that signs with a key of its own making, and publishes it, is refused',
  { timeout: TEST_TIMEOUT_MS },
  async () => {
    const signer = running
    const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
    await startWith(await exportJWK(privateKey))
    expect(running?.kid).not.toBe(signer?.kid)
    expect(await ended((await ask()).id)).toMatchObject({ state: 'refused', code: 'order-unknown-key' })
    await startWith(JSON.parse(readFileSync(join(world.dir, 'next', 'control-plane.key.json'), 'utf8')) as JWK)
  },
)

test(
  'T20: a clock that jumps by ten minutes either way, at rest and during a job, stops nothing for good and ends no job wrongly',
  { timeout: TEST_TIMEOUT_MS },
  async () => {
    for (const jumpMs of [TEN_MINUTES_MS, -TEN_MINUTES_MS]) {
      await shiftClock(jumpMs)
      await untilRefused()
    }
    await shiftClock(0)

    const { job, caught } = await exporting()
    await shiftClock(-TEN_MINUTES_MS)
    await untilRefused()
    // Only the first of several refusals in a row is logged.
    await shiftClock(TEN_MINUTES_MS)
    await sleep(2_000)
    caught.release()
    await sleep(500)
    await shiftClock(0)
    expect(await ended(job.id)).toMatchObject({ state: 'succeeded', target_state: 'changed' })
  },
)
