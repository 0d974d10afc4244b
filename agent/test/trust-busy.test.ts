import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until, withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { openControl, type Control } from './road/control.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { openGate, type Gate } from './road/gate.ts'
import { openWorld, type World } from './road/world.ts'

/**
 * A real agent whose main thread does nothing but count for three times as long as its lease lasts: 10 s of 3 s here, as
 * 60 s would be of a lease of 20 s. A script that the process is started with makes it do so.
 */

const LEASE = { leaseMs: 3_000, graceMs: 500 }
const BUSY_MS = 10_000
const STEP_TIMEOUT_MS = 40_000
const SQL = `
create table public."Component" (id bigserial primary key, name text not null);
insert into public."Component" (name) select 'part ' || n from generate_series(1, 500) n;`
const BUSY = `process.on('SIGUSR2', () => {
  process.stderr.write('busy\\n')
  const until = performance.now() + ${BUSY_MS}
  while (performance.now() < until) Math.sqrt(2)
  process.stderr.write('idle\\n')
})`

let stack: AsyncDisposableStack
let world: World
let control: Control
let daemon: Daemon
let store: Gate

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  world = stack.use(await openWorld({ source: { sql: SQL } }))
  control = stack.use(await openControl(world, LEASE))
  store = stack.use(await openGate(new URL(world.store.endpoint)))
  const dir = await mkdtemp(join(tmpdir(), 'busy-'))
  stack.defer(async () => await rm(dir, { recursive: true, force: true }))
  await writeFile(join(dir, 'busy.mjs'), BUSY)
  daemon = await startDaemon({
    ...world.env,
    ...control.env,
    S3_ENDPOINT: store.url(world.store.endpoint),
    NODE_OPTIONS: `--import ${join(dir, 'busy.mjs')}`,
  })
  stack.defer(async () => await daemon.kill())
})

afterAll(async () => await stack.disposeAsync())

test('G14: an agent that is busy for three times as long as its lease keeps it, and says that nothing moves', async () => {
  const uploading = withDeadline('the export', STEP_TIMEOUT_MS, store.stopAt(/PUT \S+\/archives\//, 'before'))
  const job = await control.ask({ kind: 'export', source: 'production' })
  const caught = await uploading
  await control.waitForEvent(job.id, 'job.phase', ({ phase }) => phase === 'exporting')
  process.kill(daemon.pid, 'SIGUSR2')
  await until('the agent to be busy', STEP_TIMEOUT_MS, async () => await Promise.resolve(daemon.log().includes('busy')))
  const states = new Set<string>()
  let stalledMs = 0
  while (!daemon.log().includes('idle')) {
    const view = await control.job(job.id)
    states.add(view.state)
    stalledMs = Math.max(stalledMs, view.stalled_ms ?? 0)
    await sleep(100)
  }
  caught.release()
  expect([...states]).toEqual(['running'])
  expect(stalledMs).toBeGreaterThan(BUSY_MS / 2)
  await control.waitFor(job.id, 'succeeded')
  const types = (await control.events(job.id)).map(({ type }) => type)
  expect(types).not.toContain('job.lost')
  expect(types).not.toContain('job.revived')
})
