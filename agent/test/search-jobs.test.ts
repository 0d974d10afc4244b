import { SyncError } from '@multiboard-sync/shared/sync-error'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { COLLECTIONS, openShop, ROUTES, waysOf, type Ran, type Shop } from './search/shop.ts'

/*
 * Whole jobs and their search, one after the other on the same shop: each begins with what the one before it has left.
 */

let shop: Shop

beforeAll(async () => {
  shop = await openShop()
})
afterAll(async () => await shop[Symbol.asyncDispose]())
beforeEach(() => shop.fake.faults.clear())

const rename = async (id: number, name: string): Promise<void> =>
  void (await shop.production.query(`update public."Part" set name = $2 where id = $1`, [id, name]))
const nameInStaging = async (id: number): Promise<unknown> =>
  (await shop.staging.query<{ name: string }>(`select name from public."Part" where id = $1`, [id])).rows[0]?.name
const succeeded = (ran: Ran): Ran => {
  expect(ran, JSON.stringify([ran.message, ran.details])).toMatchObject({ outcome: 'succeeded' })
  return ran
}
const typesOf = ({ events }: Ran): string[] => events.map(({ type }) => type)

let first: Ran

test('a dry run says what becomes of the search, and makes nothing there', async () => {
  const ran = succeeded(await shop.sync({}, { dryRun: true }))
  expect(ran.plan?.search).toMatchObject([
    { alias: 'parts', mode: 'full', reason: 'there is no index yet' },
    { alias: 'categories', mode: 'full' },
  ])
  expect(shop.fake.collections()).toEqual([])
  expect(ran.search).toBeUndefined()
})

test('after a sync searches find the new rows, and the result says how', async () => {
  first = succeeded(await shop.sync())
  expect(waysOf(first)).toEqual({ parts: 'fresh full', categories: 'fresh full' })
  expect(first.search).toMatchObject({ state: 'fresh', collections: [{ documents: 40 }, { documents: 20 }] })
  expect([shop.count('parts'), shop.count('categories')]).toEqual([40, 20])
  expect(shop.find('parts', 38)).toMatchObject({ name: 'part 38', category: 'category 19' })
  expect(typesOf(first)).toEqual(
    expect.arrayContaining(['search.planned', 'search.begun', 'search.alias-set', 'search.done']),
  )
  expect(first.plan?.search).toHaveLength(2)
})

test('a second sync sends what differs from the tables that were replaced, dependants included', async () => {
  await rename(7, 'seven')
  await shop.production.query(`update public."Category" set name = 'renamed' where id = 2`)
  await shop.production.query(`delete from public."Part" where id = 40`)
  const before = shop.fake.aliases()
  const ran = succeeded(await shop.sync())
  expect(waysOf(ran)).toEqual({ parts: 'fresh incremental', categories: 'fresh incremental' })
  expect(ran.search?.collections).toMatchObject([
    { upserted: 3, deleted: 1, documents: 39, reason: expect.stringContaining('replaced') as string },
    { upserted: 1, deleted: 0, documents: 20 },
  ])
  expect(shop.fake.aliases()).toEqual(before)
  expect(shop.find('parts', 7)).toMatchObject({ name: 'seven' })
  expect(shop.find('parts', 21)).toMatchObject({ category: 'renamed' })
  expect(shop.find('parts', 40)).toBeUndefined()
})

test('an undo takes the search back with the tables', async () => {
  await shop.production.query(`update public."Part" set name = name || '!'`)
  const synced = succeeded(await shop.sync())
  expect(waysOf(synced)).toMatchObject({ parts: 'fresh full' })
  expect(shop.find('parts', 7)).toMatchObject({ name: 'seven!' })
  const preview = succeeded(await shop.run({ kind: 'undo', target: 'staging', job: synced.id }, { dryRun: true }))
  expect(preview.plan?.search).toMatchObject([{ alias: 'parts', mode: 'pointed-back' }, { alias: 'categories' }])
  const undone = succeeded(await shop.run({ kind: 'undo', target: 'staging', job: synced.id }))
  expect(waysOf(undone)).toEqual({ parts: 'fresh pointed-back', categories: 'fresh incremental' })
  expect(await nameInStaging(7)).toBe('seven')
  expect(shop.find('parts', 7)).toMatchObject({ name: 'seven' })
  const again = succeeded(await shop.run({ kind: 'undo', target: 'staging', job: undone.id }))
  expect(waysOf(again)).toMatchObject({ parts: 'fresh pointed-back' })
  expect(shop.find('parts', 7)).toMatchObject({ name: 'seven!' })
})

test('a restore takes the search with it', async () => {
  const { archive } = first
  const ran = succeeded(await shop.run({ kind: 'restore', archive: archive?.id, target: 'staging' }))
  expect(ran.search?.state).toBe('fresh')
  expect(shop.find('parts', 7)).toMatchObject({ name: 'part 7' })
})

test('a search server that is away before the job refuses it, and the database is not touched', async () => {
  await rename(1, 'refused')
  shop.fake.faults.starting()
  const refused = await shop.sync()
  expect(refused).toMatchObject({ outcome: 'refused', code: 'search-not-ready', target_state: 'untouched' })
  expect(refused.details).toHaveLength(1)
  expect(await nameInStaging(1)).not.toBe('refused')
  const left = succeeded(await shop.sync({ reindex: false }))
  expect(left.search).toBeUndefined()
  expect(left.plan?.search).toBeUndefined()
  expect(await nameInStaging(1)).toBe('refused')
})

test('a reindex makes good what was left alone, and only reads the database', async () => {
  expect(shop.find('parts', 1)).not.toMatchObject({ name: 'refused' })
  const preview = succeeded(await shop.run({ kind: 'reindex', source: 'staging' }, { dryRun: true }))
  expect(preview.plan).toMatchObject({
    kind: 'reindex',
    source: 'staging',
    search: [{ alias: 'parts', mode: 'incremental' }, { alias: 'categories' }],
  })
  const ran = succeeded(await shop.run({ kind: 'reindex', source: 'staging' }))
  expect(ran).toMatchObject({ target_state: 'untouched', search: { state: 'fresh' } })
  expect(shop.find('parts', 1)).toMatchObject({ name: 'refused' })
  await shop.staging.query(`update public."Part" set name = 'by hand' where id = 4`)
  const changed = succeeded(await shop.run({ kind: 'reindex', source: 'staging', collections: ['parts'] }))
  expect(changed.search?.collections).toMatchObject([{ mode: 'incremental', upserted: 1, deleted: 0 }])
  expect(shop.find('parts', 4)).toMatchObject({ name: 'by hand' })
  const full = succeeded(await shop.run({ kind: 'reindex', source: 'staging', collections: ['parts'], full: true }))
  expect(waysOf(full)).toEqual({ parts: 'fresh full' })
})

test('a search server that fails after the commit leaves the index stale and the job succeeded', async () => {
  await rename(2, 'two')
  const fail = (type: string, data: Record<string, unknown>): void => {
    if (type === 'job.phase' && data['phase'] === 'reindexing') shop.fake.faults.starting()
  }
  const ran = succeeded(await shop.sync({}, { onEvent: fail }))
  expect(ran.target_state).toBe('changed')
  expect(ran.search?.state).toBe('stale')
  expect(ran.search?.collections).toMatchObject([
    {
      alias: 'parts',
      state: 'stale',
      code: 'search-unreachable',
      hint: expect.stringContaining('reindex parts') as string,
    },
    { alias: 'categories', state: 'stale' },
  ])
  expect(typesOf(ran).filter((type) => type === 'search.stale')).toHaveLength(2)
  expect(await nameInStaging(2)).toBe('two')
  const undo = { kind: 'undo', target: 'staging', job: ran.id }
  const preview = succeeded(await shop.run(undo, { dryRun: true })).plan?.search
  expect(preview).toMatchObject([{ alias: 'parts', notices: [expect.stringMatching(/./)] }, { alias: 'categories' }])
  const undone = succeeded(await shop.run(undo))
  expect(undone.search?.state, 'never refused for the search').toBe('stale')
  expect(await nameInStaging(2)).not.toBe('two')
  shop.fake.faults.clear()
  succeeded(await shop.run({ kind: 'undo', target: 'staging', job: undone.id }))
  expect(shop.find('parts', 2)).toMatchObject({ name: 'two' })
})

test('documents that are refused leave the index stale, and what was made for them is dropped again', async () => {
  const before = shop.fake.collections()
  shop.fake.faults.full('OUT_OF_MEMORY')
  // The preflight sees that as well: it comes in the middle.
  shop.fake.faults.clear()
  const fail = (type: string): void => {
    if (type === 'search.begun') shop.fake.faults.full('OUT_OF_MEMORY')
  }
  const options = { onEvent: fail }
  const ran = await shop.run({ kind: 'reindex', source: 'staging', collections: ['parts'], full: true }, options)
  expect(ran).toMatchObject({ outcome: 'failed', code: 'search-full', target_state: 'untouched' })
  expect(waysOf(ran)).toEqual({ parts: 'stale full' })
  expect(shop.fake.collections()).toEqual(before)
})

test('a cancel while the search follows leaves it stale; a reindex alone is canceled by it', async () => {
  await shop.production.query(`update public."Part" set name = name || '?'`)
  const cancel = (type: string, _: object, controller: AbortController): void => {
    if (type !== 'search.begun') return
    shop.fake.faults.stall()
    controller.abort(new SyncError('canceled', 'The command was stopped.'))
  }
  const before = [shop.fake.aliases(), shop.fake.collections()]
  const synced = succeeded(await shop.sync({ engine: 'truncate' }, { onEvent: cancel }))
  expect(synced.search?.collections).toMatchObject([
    { alias: 'parts', state: 'stale', code: 'canceled', hint: 'Run `pnpm agent reindex parts`.' },
    { alias: 'categories', state: 'stale', code: 'canceled' },
  ])
  shop.fake.faults.clear()
  const reindex = { kind: 'reindex', source: 'staging', collections: ['parts'], full: true }
  const canceled = await shop.run(reindex, { onEvent: cancel })
  expect(canceled).toMatchObject({ outcome: 'canceled', target_state: 'untouched' })
  expect(waysOf(canceled)).toEqual({ parts: 'stale full' })
  expect([shop.fake.aliases(), shop.fake.collections()], 'nothing is left behind').toEqual(before)
  shop.fake.faults.clear()
  succeeded(await shop.run({ kind: 'reindex', source: 'staging' }))
  expect(shop.find('parts', 3)).toMatchObject({ name: 'part 3!?' })
})

test('what cannot be dropped at once is dropped when the search server is there again', async () => {
  const before = shop.fake.collections()
  const real = ({ path }: { path: string }): boolean =>
    path.endsWith('/documents/import') && shop.fake.collections().some((name) => path.includes(`/${name}/`))
  const end = (type: string): void => {
    if (type === 'search.begun') {
      shop.fake.faults.answer(
        422,
        { message: 'Rejecting write: running out of resource type: OUT_OF_MEMORY' },
        { on: real },
      )
      shop.fake.faults.busy({ on: ({ method }) => method === 'DELETE' })
    }
    if (type === 'search.stale') shop.fake.faults.starting()
  }
  const reindex = { kind: 'reindex', source: 'staging', collections: ['parts'], full: true }
  const failed = await shop.run(reindex, { onEvent: end })
  expect(failed).toMatchObject({ outcome: 'failed', code: 'search-full' })
  expect(typesOf(failed)).toContain('search.left-behind')
  expect(shop.fake.collections()).toHaveLength(before.length + 1)
  expect(await shop.run(reindex), 'a boot is not hindered').toMatchObject({ code: 'search-not-ready' })
  expect(shop.fake.collections()).toHaveLength(before.length + 1)
  shop.fake.faults.clear()
  succeeded(await shop.run({ ...reindex, collections: ['categories'] }, { dryRun: true }))
  expect(shop.fake.collections()).toEqual(before)
})

test('the policy says which collections follow, and which databases may be reindexed', async () => {
  expect(await shop.run({ kind: 'reindex', source: 'apart' })).toMatchObject({
    outcome: 'refused',
    code: 'policy-denied',
  })
  expect(await shop.run({ kind: 'reindex', source: 'production' })).toMatchObject({ code: 'collection-unknown' })
  expect(await shop.run({ kind: 'reindex', source: 'staging', collections: ['orders'] })).toMatchObject({
    code: 'collection-unknown',
  })
  const narrowed = ROUTES.replace('to: staging }', 'to: staging, collections: [categories] }')
  await shop.world.writePolicy(narrowed + COLLECTIONS)
  const plan = succeeded(await shop.sync({}, { dryRun: true })).plan
  expect(plan?.search).toMatchObject([{ alias: 'categories' }])
  await shop.world.writePolicy(ROUTES + COLLECTIONS)
  const unknown = { env: { TYPESENSE_HOST: '' }, dryRun: true }
  const notes = succeeded(await shop.sync({ tables: ['public.Note'] }, unknown))
  expect(notes.plan?.search, 'no collection is made of it').toBeUndefined()
  expect(await shop.sync({}, unknown)).toMatchObject({ outcome: 'refused', code: 'search-not-configured' })
})
