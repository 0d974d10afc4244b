import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobView } from '@multiboard-sync/shared/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until, withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { blobTemplates } from './road/blob-tables.ts'
import { readCopied, readState } from './road/compare-databases.ts'
import { openControl, type Control } from './road/control.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { openGate, type Caught, type Gate } from './road/gate.ts'
import { openWorld, type World } from './road/world.ts'

/**
 * The agent is killed, frozen or cut off in the middle of real syncs. Between it and the store, the databases and the
 * control plane stand gates, which stop at a known message: that is where it happens. One world for all tests, so that
 * each of them also shows that a new sync works after the last crash.
 */

const STEP_TIMEOUT_MS = 50_000
/** In one transaction. What becomes of a swap that is killed is told elsewhere. */
const SYNC = { kind: 'sync', source: 'production', target: 'staging', engine: 'truncate' }
/** Enough where the size does not matter; the other table refers to this one, from outside of the job. */
const SMALL = { ...SYNC, tables: ['public.Component'] }
/** Short enough to wait for its end; a commit wants 5 s of the three quarters that count. */
const LEASE_MS = 9_000
const GRACE_MS = 1_000
/** COMMIT and the check of the deadline are one message. */
const COMMIT = /lease deadline/
const CLOCK = /select clock_timestamp\(\)::text/

let stack: AsyncDisposableStack
let world: World
let control: Control
let daemon: Daemon
let store: Gate
let source: Gate
let target: Gate
let before: Awaited<ReturnType<typeof readState>>

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  const templates = await blobTemplates()
  world = stack.use(await openWorld({ source: { template: templates.source }, target: { template: templates.target } }))
  control = stack.use(await openControl(world, { leaseMs: LEASE_MS, graceMs: GRACE_MS }))
  store = stack.use(await openGate(new URL(world.store.endpoint)))
  source = stack.use(await openGate(new URL(world.source.url)))
  target = stack.use(await openGate(new URL(world.target.url)))
  before = await readState(world.target.url)
  await boot()
  stack.defer(async () => await daemon.kill())
})

afterAll(async () => await stack.disposeAsync())

async function boot(): Promise<void> {
  daemon = await startDaemon({
    ...world.env,
    ...control.env,
    S3_ENDPOINT: store.url(world.store.endpoint),
    PRODUCTION_DATABASE_URL: source.url(world.source.url),
    STAGING_DATABASE_URL: target.url(world.target.url),
  })
}

async function catchAt(gate: Gate, message: RegExp, where: 'before' | 'after' = 'before'): Promise<Caught> {
  return await withDeadline(`the message ${String(message)}`, STEP_TIMEOUT_MS, gate.stopAt(message, where))
}

/** Kills the agent, lets its lease lapse, and boots it again: how the job is shown before and after. */
async function killAndBoot(job: JobView): Promise<{ lost: JobView; told: JobView }> {
  await daemon.kill()
  await control.letLapse(job.id)
  const lost = await control.waitFor(job.id, 'lost')
  await boot()
  return { lost, told: await control.waitFor(job.id, 'failed', 'succeeded') }
}

async function expectNothingChanged(): Promise<void> {
  expect(await readState(world.target.url)).toEqual(before)
  expect(await world.store.openUploads(world.bucket)).toEqual([])
}

async function lastStep(job: JobView): Promise<unknown> {
  const text = await readFile(join(world.dir, 'state', 'journal', `${job.id}.jsonl`), 'utf8')
  return (JSON.parse(text.trim().split('\n').at(-1) ?? '') as { step: unknown }).step
}

const CRASHED = { state: 'failed', code: 'crashed', result: { outcome: 'failed', code: 'crashed' } }

test('G5, G7: an agent killed during the export is lost, and its next boot says that nothing was touched', async () => {
  const uploading = catchAt(store, /PUT \S+\/archives\/\S+partNumber=2/)
  const job = await control.ask(SYNC)
  await uploading
  expect(await control.job(job.id)).toMatchObject({ state: 'running', phase: 'exporting' })
  expect(await world.store.openUploads(world.bucket)).toHaveLength(1)
  const { lost, told } = await killAndBoot(job)
  expect(lost).toMatchObject({ target_state: 'untouched' })
  expect(told).toMatchObject({ ...CRASHED, target_state: 'untouched' })
  await expectNothingChanged()
})

test('G5: killed during the safety backup, likewise', async () => {
  const uploading = catchAt(store, /PUT \S+\/backups\/\S+partNumber=2/)
  const job = await control.ask(SYNC)
  await uploading
  await control.waitForEvent(job.id, 'job.phase', ({ phase }) => phase === 'backing-up')
  expect(await world.store.openUploads(world.bucket)).toHaveLength(1)
  const { lost, told } = await killAndBoot(job)
  expect(lost).toMatchObject({ target_state: 'untouched' })
  expect(told).toMatchObject({ ...CRASHED, target_state: 'untouched' })
  await expectNothingChanged()
})

test('G5, G7: killed during the load, when the control plane cannot know the target, the next boot knows it', async () => {
  const loading = catchAt(target, /new 450/)
  const job = await control.ask(SMALL)
  await loading
  await control.waitForEvent(job.id, 'job.phase', ({ phase }) => phase === 'loading')
  const { lost, told } = await killAndBoot(job)
  expect(lost).toMatchObject({ target_state: 'unknown' })
  expect(told).toMatchObject({ ...CRASHED, target_state: 'untouched' })
  await expectNothingChanged()
})

test('G5: killed with COMMIT written down and not sent, the next boot finds no receipt', async () => {
  const committing = catchAt(target, COMMIT)
  const job = await control.ask(SMALL)
  await committing
  expect(await lastStep(job)).toBe('committing')
  const { told } = await killAndBoot(job)
  expect(told).toMatchObject({ ...CRASHED, target_state: 'rolled_back' })
  await expectNothingChanged()
})

test('T9, G3: a frozen agent whose lease has run out does not commit when it wakes', async () => {
  // Frozen in the middle of asking for the target's clock: the answer is old when it is read.
  const asking = catchAt(target, CLOCK)
  const job = await control.ask(SMALL)
  const caught = await asking
  control.proxy.blackhole()
  daemon.send('SIGSTOP')
  // By the clock itself.
  await control.waitFor(job.id, 'lost')
  caught.release()
  daemon.send('SIGCONT')
  await until('the agent to end the job', STEP_TIMEOUT_MS, async () => (await lastStep(job)) === 'finished')
  await control.proxy.resume()
  // It was lost and nobody else has the target: the agent comes back with the truth.
  const told = await control.waitFor(job.id, 'failed')
  expect(told).toMatchObject({ code: 'lease-lost', target_state: 'rolled_back' })
  await expectNothingChanged()
})

test('T9: a COMMIT that is under way for longer than the lease is refused by the target', async () => {
  const committing = catchAt(target, COMMIT)
  const job = await control.ask(SMALL)
  const caught = await committing
  await sleep(LEASE_MS)
  caught.release()
  const told = await control.waitFor(job.id, 'failed')
  expect(told).toMatchObject({ code: 'lease-lost', target_state: 'rolled_back' })
  await expectNothingChanged()
})

test('T9: a job whose fence was taken by a newer one cannot commit', async () => {
  const checking = catchAt(target, /create schema if not exists multiboard_sync/)
  const job = await control.ask(SMALL)
  const caught = await checking
  const client = await world.target.client()
  await client.query(`create schema multiboard_sync;
    create table multiboard_sync.fence (target text primary key, fence bigint not null);
    insert into multiboard_sync.fence values ('staging', ${2 ** 40})`)
  caught.release()
  expect(await control.waitFor(job.id, 'failed', 'refused')).toMatchObject({ code: 'fence-superseded' })
  await client.query(`drop schema multiboard_sync cascade`)
  await client.end()
  await expectNothingChanged()
})

test('a source connection that is cut during the export ends the job cleanly', async () => {
  const uploading = catchAt(store, /PUT \S+\/archives\/\S+partNumber=1/)
  const job = await control.ask(SYNC)
  const caught = await uploading
  source.cutAll()
  caught.release()
  expect(await control.waitFor(job.id, 'failed')).toMatchObject({ code: 'connection-lost', target_state: 'untouched' })
  await expectNothingChanged()
})

test('a target connection that is cut during the load ends the job cleanly', async () => {
  const loading = catchAt(target, /new 450/)
  const job = await control.ask(SMALL)
  await loading
  target.cutAll()
  expect(await control.waitFor(job.id, 'failed')).toMatchObject({
    code: 'connection-lost',
    target_state: 'rolled_back',
  })
  await expectNothingChanged()
})

test('a store whose connections are cut during the export costs nothing but another try', async () => {
  const uploading = catchAt(store, /PUT \S+\/archives\/\S+partNumber=2/)
  const job = await control.ask(SYNC)
  await uploading
  store.cutAll()
  expect(await control.waitFor(job.id, 'succeeded')).toMatchObject({ target_state: 'changed' })
  expect(await readCopied(world.target.url)).toEqual(await readCopied(world.source.url))
  expect(await world.store.openUploads(world.bucket)).toEqual([])
})

test("when COMMIT's answer is lost, the receipt decides", async () => {
  const committing = catchAt(target, COMMIT, 'after')
  const job = await control.ask(SMALL)
  const caught = await committing
  caught.cut()
  const done = await control.waitFor(job.id, 'succeeded')
  expect(done).toMatchObject({ target_state: 'changed', result: { receipt: { job: job.id } } })
})

test('G5: killed when COMMIT was sent and before its answer, the next boot finds the receipt', async () => {
  const committing = catchAt(target, COMMIT, 'after')
  const job = await control.ask(SMALL)
  await committing
  const client = await world.target.client()
  await until('the receipt', STEP_TIMEOUT_MS, async () => {
    const found = await client.query('select from multiboard_sync.receipts where job = $1', [job.id])
    return found.rowCount === 1
  })
  expect(await lastStep(job)).toBe('committing')
  const { told } = await killAndBoot(job)
  expect(told).toMatchObject({ state: 'succeeded', target_state: 'changed', result: { receipt: { job: job.id } } })
  expect(await readCopied(world.target.url)).toEqual(await readCopied(world.source.url))
  expect(await world.store.openUploads(world.bucket)).toEqual([])
})

test('G8: a cancel in the middle of COMMIT is answered that it is too late, and the job succeeds', async () => {
  const committing = catchAt(target, COMMIT, 'after')
  const job = await control.ask(SMALL)
  const caught = await committing
  // Reports come in batches: until the control plane has heard of the phase it passes a cancel on.
  await control.waitForEvent(job.id, 'job.phase', ({ phase }) => phase === 'swapping')
  const { status } = await control.call('POST', `/v1/jobs/${job.id}/cancel`)
  caught.release()
  expect(status).toBe(409)
  const done = await control.waitFor(job.id, 'succeeded')
  expect(done).toMatchObject({ target_state: 'changed', cancel_requested_at: null })
})

test('in the end every outbox is empty and every journal has its end', async () => {
  await until('the outboxes to be gone', STEP_TIMEOUT_MS, async () => {
    return (await readdir(join(world.dir, 'state', 'outbox'))).length === 0
  })
  for (const name of await readdir(join(world.dir, 'state', 'journal'))) {
    const text = await readFile(join(world.dir, 'state', 'journal', name), 'utf8')
    expect(text.trim().split('\n').at(-1), name).toContain('"step":"finished"')
  }
})
