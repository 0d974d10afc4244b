import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { COLLECTIONS, openShop, waysOf, type Ran, type Shop } from './search/shop.ts'

/*
 * What was tried against whole jobs, and is held since.
 */

const OF_PRODUCTION = `
  sold:
    database: production
    from: public."Part"
    fields: [{ name: name, type: string }]
`
const THINGS = `
  things:
    from: public."Thing"
    fields: [{ name: specs, type: object }, { name: specs.many, type: int32 }]
    collection: { enable_nested_fields: true }
`
const PRODUCTION = `
create table public."Thing" (id int primary key, specs jsonb not null);
insert into public."Thing" select n, jsonb_build_object('many', n) from generate_series(1, 10) n;`

let shop: Shop
beforeAll(async () => {
  const collections = COLLECTIONS.replace('collections:', `collections:${OF_PRODUCTION}`) + THINGS
  shop = await openShop({ collections, production: PRODUCTION, staging: '' })
})
afterAll(async () => await shop[Symbol.asyncDispose]())
beforeEach(() => shop.fake.faults.clear())

const succeeded = (ran: Ran): Ran => {
  expect(ran, JSON.stringify([ran.code, ran.message, ran.details])).toMatchObject({ outcome: 'succeeded' })
  return ran
}

test('an undo goes on when the search server falls over while what was kept is looked for', async () => {
  succeeded(await shop.sync())
  const synced = succeeded(await shop.sync())
  const isList = ({ method, path }: { method: string; path: string }): boolean =>
    method === 'GET' && path === '/collections'
  shop.fake.faults.answer(500, { message: 'It has fallen over.' }, { on: isList, after: 1, times: Infinity })
  const undone = succeeded(await shop.run({ kind: 'undo', target: 'staging', job: synced.id }))
  expect(undone.search?.state).toBe('stale')
})

test('two reindexes of a database that is only a source do not run at once', async () => {
  const reindex = { kind: 'reindex', source: 'production' }
  let second: Promise<Ran> | undefined
  const first = await shop.run(reindex, {
    onEvent: (type) => {
      if (type !== 'search.begun') return
      shop.fake.faults.holdIndexing()
      const env = { AGENT_STATE_DIR: `${shop.env['AGENT_STATE_DIR']}-of-another-agent` }
      second = shop.run(reindex, { env }).finally(() => shop.fake.faults.releaseIndexing())
    },
  })
  expect(await second).toMatchObject({ outcome: 'refused', code: 'target-busy', target_state: 'untouched' })
  expect(waysOf(succeeded(first))).toEqual({ sold: 'fresh full' })
})

test('a restore whose rows are too few is committed, and leaves the search stale, as it was', async () => {
  const small = succeeded(await shop.run({ kind: 'export', source: 'production' }))
  await shop.production.query(`insert into public."Part" select n, 'more ' || n, 1, 1 from generate_series(41, 80) n`)
  succeeded(await shop.sync())
  const ran = succeeded(await shop.run({ kind: 'restore', archive: small.archive?.id, target: 'staging' }))
  expect(ran.search?.collections).toMatchObject([{ alias: 'parts', state: 'stale' }, {}, {}])
  expect(shop.count('parts')).toBe(80)
})

test('rows of a restore that the search server would take for others leave the search stale, as it was', async () => {
  await shop.production.query(`update public."Thing" set specs = '{"many": 3000000000}' where id = 4`)
  const wide = succeeded(await shop.run({ kind: 'export', source: 'production' }))
  expect(await shop.sync()).toMatchObject({ outcome: 'refused', code: 'search-not-ready' })
  await shop.production.query(`update public."Thing" set specs = '{"many": 4}' where id = 4`)
  succeeded(await shop.sync())
  const restore = { kind: 'restore', archive: wide.archive?.id, target: 'staging', tables: ['public.Thing'] }
  const ran = succeeded(await shop.run(restore))
  expect(waysOf(ran), JSON.stringify(ran.search)).toEqual({ things: expect.stringMatching(/^stale/) as string })
  expect(shop.find('things', 4)).toMatchObject({ specs: { many: 4 } })
})
