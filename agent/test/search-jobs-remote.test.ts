import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { readGeneration } from '../src/reindex/generation.ts'
import { openControl, type Control } from './road/control.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { openShop, waysOf, type Shop } from './search/shop.ts'

/** The search of whole jobs as people and machines meet it: over HTTP, from the shell, and after a kill. One after another. */

const STEP_TIMEOUT_MS = 40_000
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }
const REINDEX = { kind: 'reindex', source: 'staging' }

let stack: AsyncDisposableStack
let shop: Shop
let control: Control
let daemon: Daemon

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  shop = stack.use(await openShop())
  // A short lease is renewed often, so that a cancel is heard soon also while nothing moves.
  control = stack.use(await openControl(shop.world, { leaseMs: 8_000, graceMs: 40_000 }))
  daemon = await startDaemon({ ...shop.env, ...control.env })
  stack.defer(async () => await daemon.kill())
})
afterAll(async () => await stack.disposeAsync())
beforeEach(() => shop.fake.faults.clear())

/** Imports into collections that are there: the preflight asks for the right to import by one that is not. */
const realImports = ({ path }: { path: string }): boolean =>
  path.endsWith('/documents/import') && shop.fake.collections().some((name) => path.includes(`/${name}/`))
const building = (): string[] =>
  shop.fake
    .collections()
    .filter((name) => readGeneration({ name, metadata: shop.fake.metadata(name) ?? {} })?.state === 'building')
const reindexing = async (id: string): Promise<void> =>
  await until('the job to reindex', STEP_TIMEOUT_MS, async () =>
    (await control.job(id)).phase === 'reindexing' ? true : undefined,
  ).then(() => undefined)

test('a sync over HTTP tells what became of the search, and the control plane knows no mapping', async () => {
  const { id } = await control.ask(SYNC)
  const done = await control.waitFor(id, 'succeeded')
  expect(waysOf(done.result ?? {})).toEqual({ parts: 'fresh full', categories: 'fresh full' })
  expect(shop.find('parts', 38)).toMatchObject({ name: 'part 38' })
  const client = await control.database.client()
  const { rows } = await client.query<{ policy: object }>('select policy from multiboard.agents')
  expect(rows[0]?.policy).toMatchObject({ collections: { parts: { database: 'staging' } } })
  expect(JSON.stringify(rows)).not.toMatch(/select|facet/)
})

test('a reindex alone is asked for over HTTP, and there is nothing to undo', async () => {
  const { id } = await control.ask({ ...REINDEX, collections: ['parts'], full: true })
  const done = await control.waitFor(id, 'succeeded')
  expect(done).toMatchObject({ target_state: 'untouched', result: { search: { state: 'fresh' } } })
  expect(await control.call('POST', `/v1/jobs/${id}/undo`)).toMatchObject({ body: { code: 'nothing-to-undo' } })
  for (const [body, code] of [
    [{ kind: 'reindex', source: 'production' }, 'collection-unknown'],
    [{ kind: 'reindex', source: 'apart' }, 'policy-denied'],
    [{ ...REINDEX, collections: ['orders'] }, 'collection-unknown'],
  ] as const) {
    expect(await control.call('POST', '/v1/jobs', body)).toMatchObject({ body: { code } })
  }
})

test('a reindex alone can be canceled while it reindexes, and leaves nothing behind', async () => {
  shop.fake.faults.stall({ on: realImports })
  const before = shop.fake.collections()
  const { id } = await control.ask({ ...REINDEX, collections: ['parts'], full: true })
  await reindexing(id)
  expect(await control.call('POST', `/v1/jobs/${id}/cancel`)).toMatchObject({
    status: 200,
    body: { state: 'canceling' },
  })
  const done = await control.waitFor(id, 'canceled')
  expect(done.result?.search).toMatchObject({ state: 'stale', collections: [{ alias: 'parts', code: 'canceled' }] })
  expect(shop.fake.collections()).toEqual(before)
})

test('killed while the search follows, the job has succeeded with a stale search, and the next boot tidies up', async () => {
  await shop.production.query(`update public."Part" set name = name || '!'`)
  shop.fake.faults.stall({ on: realImports })
  const { id } = await control.ask(SYNC)
  await reindexing(id)
  expect(await control.call('POST', `/v1/jobs/${id}/cancel`)).toMatchObject({ body: { code: 'too-late' } })
  await until('a new collection', STEP_TIMEOUT_MS, async () => (building().length > 0 ? true : undefined))
  await daemon.kill()
  shop.fake.faults.clear()
  expect(shop.find('parts', 3), 'searches find what they found').toMatchObject({ name: 'part 3' })
  daemon = await startDaemon({ ...shop.env, ...control.env })
  const done = await control.waitFor(id, 'succeeded')
  expect(done).toMatchObject({
    target_state: 'changed',
    result: {
      search: {
        state: 'stale',
        collections: [
          { alias: 'parts', code: 'crashed', hint: expect.stringContaining('reindex parts') as string },
          { alias: 'categories', code: 'crashed' },
        ],
      },
    },
  })
  expect(building()).toEqual([])
  await control.waitFor((await control.ask(REINDEX)).id, 'succeeded')
  expect(shop.find('parts', 3)).toMatchObject({ name: 'part 3!' })
})

test('the command line says with its exit code that the search is stale, and mends it', async () => {
  await daemon.kill()
  await shop.production.query(`update public."Part" set name = name || '?'`)
  shop.fake.faults.answer(
    422,
    { message: 'Rejecting write: running out of resource type: OUT_OF_MEMORY' },
    { on: realImports },
  )
  const { env } = shop
  const stale = await shop.world.agent(['sync', '--from', 'production', '--to', 'staging', '--json'], env)
  expect(stale.code, stale.stderr).toBe(4)
  expect(stale.json).toMatchObject({
    outcome: 'succeeded',
    target_state: 'changed',
    search: { state: 'stale', collections: [{ alias: 'parts', code: 'search-full' }, { state: 'fresh' }] },
  })
  const mended = await shop.world.agent(['reindex', 'parts'], env)
  expect(mended.code, mended.stderr).toBe(0)
  expect(mended.stdout).toMatch(/^reindex succeeded in .*\nsearch {9}parts: 40 documents, /)
  expect(shop.find('parts', 3)).toMatchObject({ name: 'part 3!?' })
  const doctor = await shop.world.agent(['doctor'], env)
  expect(doctor.stdout).toMatch(
    /ok +search server: Typesense 30\.0, caught up; parts: parts__\S+; categories: categories__/,
  )
  expect(doctor.stdout).toContain('search, leftovers: none')
  const away = await shop.world.agent(['reindex', '--json'], { ...env, TYPESENSE_API_KEY: 'canary-key' })
  expect(away).toMatchObject({ code: 3, json: { code: 'search-not-ready', search: null } })
  expect(away.stdout + away.stderr).not.toContain('canary')
})
