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
let shop: Shop
beforeAll(async () => {
  shop = await openShop({ collections: COLLECTIONS.replace('collections:', `collections:${OF_PRODUCTION}`) })
})
afterAll(async () => await shop[Symbol.asyncDispose]())
beforeEach(() => shop.fake.faults.clear())

const succeeded = (ran: Ran): Ran => {
  expect(ran, JSON.stringify([ran.code, ran.message, ran.details])).toMatchObject({ outcome: 'succeeded' })
  return ran
}

test('an undo goes on when the search server falls over while what was kept is looked for', async () => {
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
  expect(ran.search?.collections).toMatchObject([{ alias: 'parts', state: 'stale', code: 'search-shrunk' }, {}])
  expect(shop.count('parts')).toBe(80)
})
