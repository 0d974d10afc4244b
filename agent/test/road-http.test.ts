import type { Progress } from '@multiboard-sync/shared/event'
import type { JobView } from '@multiboard-sync/shared/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until, withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { blobTemplates } from './road/blob-tables.ts'
import { readCopied, readState } from './road/compare-databases.ts'
import { openControl, type Control, type Frame } from './road/control.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { openGate, type Caught, type Gate } from './road/gate.ts'
import { openWorld, type World } from './road/world.ts'

/** The whole road as people travel it: HTTP in front, the agent a process of its own, everything real. One after another. */

const STEP_TIMEOUT_MS = 50_000
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }
const TABLES = ['public.Blob', 'public.Component']
const ROW = /row-5000-of-new/

let stack: AsyncDisposableStack
let world: World
let control: Control
let daemon: Daemon
let store: Gate
let target: Gate
let env: Record<string, string>

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  const { source } = await blobTemplates()
  world = stack.use(await openWorld({ source: { template: source } }))
  // A lease of 20 s is renewed every 5 s, so that a cancel is heard soon also while nothing moves.
  control = stack.use(await openControl(world, { leaseMs: 20_000, graceMs: 40_000 }))
  store = stack.use(await openGate(new URL(world.store.endpoint)))
  target = stack.use(await openGate(new URL(world.target.url)))
  env = {
    ...world.env,
    ...control.env,
    S3_ENDPOINT: store.url(world.store.endpoint),
    STAGING_DATABASE_URL: target.url(world.target.url),
  }
  daemon = await startDaemon(env)
  stack.defer(async () => await daemon.kill())
})

afterAll(async () => await stack.disposeAsync())

async function caughtAt(gate: Gate, message: RegExp): Promise<Caught> {
  return await withDeadline(`the message ${String(message)}`, STEP_TIMEOUT_MS, gate.stopAt(message, 'before'))
}

async function succeeded(job: JobView): Promise<JobView> {
  return await control.waitFor(job.id, 'succeeded')
}

const dataOf = (frames: Frame[], event: string): unknown[] =>
  frames.filter((frame) => frame.event === event).map(({ data }) => data)

test('a sync asked for over HTTP is followed to its end, and what it says is what lies in the target', async () => {
  // The upload waits until somebody has seen how far it is: otherwise a quick machine is done before it is asked.
  const uploading = caughtAt(store, /partNumber=2/)
  const asked = await control.ask(SYNC)
  const second = await control.ask({ ...SYNC, engine: 'truncate' })
  const third = await control.ask(SYNC)
  expect(asked).toMatchObject({ state: 'queued', target_state: 'untouched', agent: 'vps1', params: SYNC })

  const canceled = await control.call('POST', `/v1/jobs/${third.id}/cancel`)
  expect(canceled.body).toMatchObject({ state: 'canceled', target_state: 'untouched' })

  const caught = await uploading
  const frames: Frame[] = []
  for await (const frame of control.follow(asked.id)) {
    frames.push(frame)
    const { rows = 0, eta_seconds } = frame.event === 'progress' ? (frame.data as Progress) : {}
    if (rows > 0 && eta_seconds !== undefined) caught.release()
  }
  const end = frames.at(-1)
  expect(end?.event).toBe('end')

  const events = dataOf(frames, 'event') as { pos: number; type: string; data: Record<string, unknown> }[]
  expect(events.map(({ pos }) => pos)).toEqual(events.map((_, index) => index + 1))
  expect(frames.filter(({ event }) => event === 'event').map(({ id }) => id)).toEqual(events.map(({ pos }) => `${pos}`))
  const types = events.map(({ type }) => type)
  expect(types.slice(0, 3)).toEqual(['job.queued', 'job.leased', 'job.accepted'])
  expect(types.at(-1)).toBe('job.succeeded')
  const phasesOf = (told: typeof events): unknown[] =>
    told.filter(({ type }) => type === 'job.phase').map(({ data }) => data['phase'])
  expect(phasesOf(events)).toEqual(['preflight', 'loading', 'building', 'proving', 'swapping'])
  expect(events.find(({ type }) => type === 'plan.made')?.data).toMatchObject({ engine: 'create', tables: 2 })
  for (const type of ['table.exported', 'table.loaded', 'table.proven']) {
    const tables = events.filter((event) => event.type === type).map(({ data }) => data['table'])
    expect(new Set(tables), type).toEqual(new Set(TABLES))
    expect(tables, type).toHaveLength(2)
  }
  expect(types.filter((type) => type === 'archive.written')).toHaveLength(1)

  const moving = (dataOf(frames, 'progress') as Progress[]).find((progress) => progress.eta_seconds !== undefined)
  expect(moving).toMatchObject({ phase: 'loading', table: 'public.Blob', tables_total: 2 })
  expect(moving?.rows).toBeGreaterThan(0)
  expect(moving?.bytes).toBeGreaterThan(1_000_000)
  expect(moving?.bytes_total).toBeGreaterThan(moving?.bytes ?? 0)
  expect(moving?.bytes_per_second).toBeGreaterThan(0)

  const states = (dataOf(frames, 'job') as JobView[]).map(({ state }) => state)
  expect(states.filter((state, index) => state !== states[index - 1]).at(-1)).toBe('succeeded')
  const view = end?.data as JobView
  expect(view).toMatchObject({ state: 'succeeded', target_state: 'changed', code: null, params: SYNC })
  expect(view.result).toMatchObject({
    outcome: 'succeeded',
    engine: 'create',
    tables: 2,
    rows: 9_300,
    receipt: { job: asked.id, epoch: 1, fence: expect.any(Number), engine: 'create' },
    archive: { kind: 'export', source: 'production', job: asked.id, rows: 9_300, missing: [] },
  })
  expect(view.result?.safety_backup).toBeUndefined()

  const again = await succeeded(second)
  expect(phasesOf(await control.events(second.id))).toEqual([
    'preflight',
    'exporting',
    'backing-up',
    'loading',
    'building',
    'proving',
    'swapping',
  ])
  expect(again.result).toMatchObject({
    engine: 'truncate',
    receipt: { job: second.id, fence: expect.any(Number), engine: 'truncate' },
    archive: { kind: 'export', job: second.id },
    safety_backup: { kind: 'safety-backup', source: 'staging', job: second.id, rows: 9_300 },
  })
  expect(again.result?.receipt?.fence).toBeGreaterThan(view.result?.receipt?.fence ?? Infinity)
  expect(await readCopied(world.target.url)).toEqual(await readCopied(world.source.url))
  const receipts = await (
    await world.target.client()
  ).query('select job, epoch::int, archive, safety_backup, row_count::int from multiboard_sync.receipts order by fence')
  expect(receipts.rows).toEqual([
    { job: asked.id, epoch: 1, archive: view.result?.archive?.id, safety_backup: null, row_count: 9_300 },
    {
      job: second.id,
      epoch: 1,
      archive: again.result?.archive?.id,
      safety_backup: again.result?.safety_backup?.id,
      row_count: 9_300,
    },
  ])
  const archives = (await control.call('GET', '/v1/archives')).body['archives'] as { id: string }[]
  expect(archives).toHaveLength(3)
  const { archive, safety_backup } = again.result ?? {}
  expect(new Set(archives.map(({ id }) => id))).toEqual(
    new Set([view.result?.archive?.id, archive?.id, safety_backup?.id]),
  )
})

test('an export, and a restore of one table of its archive, are jobs like any other', async () => {
  const exported = await succeeded(await control.ask({ kind: 'export', source: 'production' }))
  expect(exported).toMatchObject({ target_state: 'untouched', result: { rows: 9_300, target_state: 'untouched' } })
  const archive = exported.result?.archive?.id
  const client = await world.target.client()
  await client.query(`update public."Component" set price = 0`)
  await client.query(`delete from public."Blob" where id > 100`)
  const restore = { kind: 'restore', archive, target: 'staging', tables: ['public.Component'], engine: 'truncate' }
  const restored = await succeeded(await control.ask(restore))
  expect(restored.result).toMatchObject({ target_state: 'changed', engine: 'truncate', receipt: { archive } })
  const left = await client.query(
    `select (select count(*)::int from public."Blob") as blobs, count(*)::int as free from public."Component" where price = 0`,
  )
  expect(left.rows).toEqual([{ blobs: 100, free: 0 }])
})

test('what the policy forbids is refused at the door, and what only the agent can see, by the agent', async () => {
  const forbidden = await control.call('POST', '/v1/jobs', { kind: 'sync', source: 'staging', target: 'production' })
  expect(forbidden.status).toBe(422)
  expect(forbidden.body).toMatchObject({ code: 'target-protected' })
  expect(forbidden.body['hint']).toEqual(expect.stringMatching(/\w{3}/))

  const asked = await control.ask({ ...SYNC, target: 'same' })
  const refused = await control.waitFor(asked.id, 'refused')
  expect(refused).toMatchObject({
    code: 'same-database',
    target_state: 'untouched',
    hint: expect.stringMatching(/\w{3}/),
  })
})

test('a running job that is canceled in the middle of the load leaves the target as it was', async () => {
  const before = await readState(world.target.url)
  const loading = caughtAt(target, ROW)
  const asked = await control.ask(SYNC)
  await loading
  await control.waitForEvent(asked.id, 'job.phase', ({ phase }) => phase === 'loading')
  const answer = await control.call('POST', `/v1/jobs/${asked.id}/cancel`)
  expect(answer.body).toMatchObject({ state: 'canceling' })
  const canceled = await control.waitFor(asked.id, 'canceled')
  expect(canceled).toMatchObject({ target_state: 'untouched', code: 'canceled' })
  expect((await control.events(asked.id)).map(({ type }) => type)).toContain('cancel.requested')
  expect(await readState(world.target.url)).toEqual(before)
})

test('the first SIGTERM lets the running job finish, and then the agent exits with 0', async () => {
  const uploading = caughtAt(store, /PUT \S+public\.Blob/)
  const asked = await control.ask(SYNC)
  const caught = await uploading
  const waiting = await control.ask({ kind: 'export', source: 'production' })
  daemon.send('SIGTERM')
  caught.release()
  await succeeded(asked)
  expect(await daemon.exited()).toBe(0)
  expect(await control.job(waiting.id)).toMatchObject({ state: 'queued' })
  await control.call('POST', `/v1/jobs/${waiting.id}/cancel`)
})

test('the second SIGTERM cancels the running job, tells so, and the target is as it was', async () => {
  const before = await readState(world.target.url)
  daemon = await startDaemon(env)
  const loading = caughtAt(target, ROW)
  const asked = await control.ask(SYNC)
  await loading
  daemon.send('SIGTERM')
  // Two signals at once would be one.
  await until('the first signal to be taken', STEP_TIMEOUT_MS, () => daemon.log().includes('Stopping'))
  daemon.send('SIGTERM')
  expect(await daemon.exited()).toBe(0)
  expect(await control.job(asked.id)).toMatchObject({
    state: 'canceled',
    target_state: 'untouched',
    code: 'canceled',
  })
  expect(await readState(world.target.url)).toEqual(before)
})
