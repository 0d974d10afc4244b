import { afterAll, beforeAll, expect, test } from 'vitest'
import { openShop, waysOf, type Ran, type Shop } from './search/shop.ts'

/** Jobs whose tables are not simply there before: an empty target, partitions, views, an old server, an outage on the way. */

const PRODUCTION = `
create table public."Event" (id int not null, day date not null, what text not null, primary key (id, day)) partition by range (day);
create table public."Event_2025" partition of public."Event" for values from ('2025-01-01') to ('2026-01-01');
create table public."Event_2026" partition of public."Event" for values from ('2026-01-01') to ('2027-01-01');
insert into public."Event" select n, date '2025-07-01' + n, 'event ' || n from generate_series(1, 400) n;
create view public.cheap as select id, name from public."Part" where price < 20;`

const COLLECTIONS = `
collections:
  events:
    from: public."Event"
    fields: [{ name: what, type: string }, { name: day, type: int64, as: epoch_s }]
  cheap:
    from: public.cheap
    fields: [{ name: name, type: string }]
`

let shop: Shop

beforeAll(async () => {
  shop = await openShop({ production: PRODUCTION, staging: '', version: '29.0', collections: COLLECTIONS })
})
afterAll(async () => await shop[Symbol.asyncDispose]())

const succeeded = (ran: Ran): Ran => {
  expect(ran, JSON.stringify([ran.message, ran.details])).toMatchObject({ outcome: 'succeeded' })
  return ran
}

test('the first sync into an empty database fills the index, views and partitions included', async () => {
  const ran = succeeded(await shop.sync())
  expect(ran.engine).toBe('create')
  expect(waysOf(ran), JSON.stringify(ran.search)).toEqual({ events: 'fresh full', cheap: 'fresh full' })
  expect([shop.count('events'), shop.count('cheap')]).toEqual([400, 15])
  const again = succeeded(await shop.run({ kind: 'restore', archive: ran.archive?.id, target: 'staging' }))
  expect(waysOf(again)).toEqual({ events: 'fresh incremental', cheap: 'fresh incremental' })
})

test('a sync of one partition takes the collection of all of them with it', async () => {
  await shop.production.query(`update public."Event" set what = 'party' where id = 300`)
  await shop.production.query(`update public."Part" set name = 'part' where id = 1`)
  const ran = succeeded(await shop.sync({ tables: ['public.Event_2026'] }))
  expect(waysOf(ran), JSON.stringify(ran.search)).toEqual({ events: 'fresh incremental' })
  expect(ran.search?.collections).toMatchObject([{ upserted: 1, documents: 400 }])
  expect(shop.find('events', 300)).toMatchObject({ what: 'party' })
  const table = succeeded(await shop.sync({ tables: ['public.Part', 'public.Category'] }))
  expect(waysOf(table), 'a view is touched by its tables').toEqual({ cheap: 'fresh incremental' })
  expect(shop.find('cheap', 1)).toMatchObject({ name: 'part' })
})

test('a restore into an empty database tries the mapping when its tables are there', async () => {
  const exported = succeeded(await shop.run({ kind: 'export', source: 'production' }))
  await shop.staging.query('drop schema public cascade; drop schema multiboard_sync cascade; create schema public')
  const restore = { kind: 'restore', archive: exported.archive?.id, target: 'staging' }
  const plan = succeeded(await shop.run(restore, { dryRun: true })).plan
  expect(plan?.search).toMatchObject([
    { alias: 'events', reason: expect.stringContaining('made by this job') as string },
    {},
  ])
  const ran = succeeded(await shop.run(restore))
  expect(waysOf(ran), JSON.stringify(ran.search)).toMatchObject({ events: 'fresh incremental' })
})

test('a search server that comes back is waited for', async () => {
  await shop.production.query(`update public."Event" set what = 'wait' where id = 1`)
  const away = (type: string, data: Record<string, unknown>): void => {
    if (type === 'job.phase' && data['phase'] === 'reindexing') shop.fake.faults.starting()
    if (type === 'search.waiting') shop.fake.faults.clear()
  }
  const env = { TYPESENSE_PATIENCE_SECONDS: '30' }
  const ran = succeeded(await shop.sync({ tables: ['public.Event'] }, { onEvent: away, env }))
  expect(waysOf(ran), JSON.stringify(ran.search)).toEqual({ events: 'fresh incremental' })
  expect(ran.events.filter(({ type }) => type === 'search.waiting')).toHaveLength(1)
  expect(shop.find('events', 1)).toMatchObject({ what: 'wait' })
})
