import { mappingSchema } from '@multiboard-sync/shared/mapping'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, test } from 'vitest'
import { openSession } from '../src/postgres/session.ts'
import { reindexFull } from '../src/reindex/full/reindex-full.ts'
import { reindexIncrementally } from '../src/reindex/incremental/reindex-incrementally.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { findUnfitParts } from '../src/reindex/mapping/find-unfit-parts.ts'
import { pointBack } from '../src/reindex/point-back.ts'
import type { ReindexRun } from '../src/reindex/reindex-run.ts'
import {
  fromIndex,
  fromPrevious,
  incremental,
  j0,
  j1,
  j2,
  j3,
  oneChange,
  openIndex,
  partsMapping,
  swapByHand,
  tamper,
  type Index,
} from './search-live-index.ts'
import { failure } from './swap-place.ts'

/*
 * What was tried against the promises of docs/TYPESENSE.md, and is held since.
 */

/** Longer than a request, shorter than the patience of ten minutes that a run without a word of its own has. */
const SOON_MS = 6_000
const impatient = (index: Index, job: string): ReindexRun => ({
  ...index.run(job),
  giveUpAfterMs: 0,
  signal: AbortSignal.timeout(SOON_MS),
})
const unsampled = { ...partsMapping, verify: { ...partsMapping.verify, sample: 0 } }

test('a generation in which an incremental reindex broke off is never pointed back to by an undo', async () => {
  await using index = await openIndex({ mapping: unsampled })
  const old = await index.make(j0)
  await index.client.query(`update public."Part" set name = 'of job 1' where id in ('p1', 'p2', 'p3')`)
  // What was sent is in the index; only its proof fails.
  index.fake.faults.answer(200, { id: 'p1' }, { on: ({ method, path }) => method === 'GET' && path.endsWith('/p1') })
  expect(await incremental(index)).toEqual({ full: expect.stringContaining('not equal to the rows') })
  index.fake.faults.clear()
  await reindexFull(index.run(j1), await index.plan(), 'the incremental one was not proven')
  await index.isEqual()

  await index.client.query(`update public."Part" set name = 'part ' || substr(id, 2) where id in ('p1', 'p2', 'p3')`)
  const undone = await pointBack(index.run(j2), await index.plan(), j1)
  if ('alias' in undone) await index.isEqual()
  expect(undone).toEqual({ instead: expect.stringContaining('never proven') })
  expect([...index.fake.aliases().values()]).not.toContain(old)
})

test('a queue that does not become empty ends every way of a reindex when the patience asked for is over', async () => {
  await using index = await openIndex()
  await index.make(j0)
  const planned = await index.plan()
  index.fake.faults.fallBehind({ documents: 200 })
  const ways = await Promise.all([
    failure(reindexIncrementally(impatient(index, j1), planned)),
    failure(pointBack(impatient(index, j1), planned, j0)),
    failure(reindexFull(impatient(index, j1), planned, 'asked for')),
  ])
  expect(ways.map(({ code }) => code)).toEqual(ways.map(() => 'search-unreachable'))
})

test('a server that takes no imports ends an incremental reindex when the patience asked for is over', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await index.client.query(`update public."Part" set name = 'another' where id = 'p1'`)
  const planned = await index.plan()
  index.fake.faults.busy({ on: 'imports' })
  const failed = await failure(reindexIncrementally(impatient(index, j1), planned))
  expect(failed).toMatchObject({ code: 'search-unreachable' })
})

test('documents whose ids no request can name are replaced by a full reindex, which is proven without them', async () => {
  await using index = await openIndex()
  await index.client.query(
    `insert into public."Part" select '../(' || n || ')', 'odd', 1, 1, '{}' from generate_series(1, 3) n`,
  )
  await index.make(j0)
  await index.client.query(`delete from public."Part" where id = '../(1)'`)
  expect(await incremental(index)).toEqual({ full: expect.any(String) })
  expect(await reindexFull(index.run(j1), await index.plan(), 'needed')).toMatchObject({
    state: 'fresh',
    documents: 202,
  })
  await index.isEqual()
})

test('sums of floats are the same each time, also where the server could add them up in parallel', async () => {
  const sql = `
    create table public."Category" (id int primary key, name text not null);
    insert into public."Category" values (1, 'one'), (2, 'two');
    create table public."Sale" (category int, price float8) with (parallel_workers = 2);
    insert into public."Sale" select 1 + n % 2, exp(30 * sin(n * 1.37)) from generate_series(1, 60000) n;
    analyze;`
  await using database = await createDatabase({ sql })
  await (
    await database.client()
  ).query(
    `do $$ begin execute format('alter database %I set parallel_setup_cost = 0', current_database());
      execute format('alter database %I set parallel_tuple_cost = 0', current_database()); end $$`,
  )
  const mapping = mappingSchema.parse({
    sql: `select c.id, s.sum from public."Category" c join (select category, sum(price) as sum from public."Sale" group by category) s on s.category = c.id`,
    depends_on: ['public."Category"', 'public."Sale"'],
    fields: [{ name: 'sum', type: 'float', approximate: true }],
  })
  await using index = await openIndex({ mapping, database })
  expect(await reindexFull(index.run(j1), await index.plan(), 'none yet')).toMatchObject({ state: 'fresh' })
  for (const job of [j1, j2, j3]) {
    expect(await incremental(index, undefined, job)).toMatchObject({ state: 'fresh', upserted: 0 })
  }
})

test('an agent whose lease ends between two requests sends nothing more to the live collection', async () => {
  await using index = await openIndex()
  const live = await index.make(j0)
  await index.client.query(
    `update public."Part" set name = 'other' where id = 'p1'; delete from public."Part" where id = 'p2'`,
  )
  let isLost = false
  const lease = {
    remainingMs: () => (isLost ? 0 : 60_000),
    waitUntilValid: async () => (isLost ? await Promise.reject(new SyncError('lease-lost', 'It is lost.')) : undefined),
  }
  const typesense = {
    ...index.typesense,
    importDocuments: async (...sent: Parameters<typeof index.typesense.importDocuments>) => {
      const refused = await index.typesense.importDocuments(...sent)
      isLost = true
      return refused
    },
  }
  const run = { ...index.run(j1), lease, typesense }
  expect(await failure(reindexIncrementally(run, await index.plan()))).toMatchObject({ code: 'lease-lost' })
  expect(index.sent).toEqual({ upserts: ['p1'], deletes: [] })
  // What is half changed is not believed by the next one.
  expect(index.fake.metadata(live)).toMatchObject({
    multiboard_sync: expect.not.objectContaining({ documents_checksum: expect.anything() }),
  })
  expect(await incremental(index, undefined, j2)).toMatchObject({ state: 'fresh', upserted: 0, deleted: 1 })
  await index.isEqual()
})

test('no table that a query reads escapes depends_on by the name of its database, or behind a function', async () => {
  await using index = await openIndex()
  await index.client.query(
    `create function public.parts() returns setof public."Part" language sql stable as 'select * from public."Part"'`,
  )
  const database = new URL(index.database.url).pathname.slice(1)
  const signal = AbortSignal.timeout(SOON_MS)
  const url = { name: 'staging', url: index.database.url, viaProxy: false }
  await using session = await openSession(url, { purpose: 'test', signal, readOnly: true })
  const compile = async (sql: string, depends_on: string[]) =>
    await compileMapping(
      session,
      'parts',
      mappingSchema.parse({ sql, depends_on, fields: [{ name: 'name', type: 'string' }] }),
    )
  for (const [from, found] of [
    [`"${database}".public."Part"`, 'reads public.Part'],
    ['public.parts()', 'the tables that its functions read'],
  ] as const) {
    const sql = `select id, name from ${from}`
    expect((await failure(compile(sql, []))).details).toEqual([expect.stringContaining(found)])
    expect((await compile(sql, ['public."Part"'])).tables).toEqual([{ schema: 'public', name: 'Part' }])
  }
})

test('what a proxy says of the server behind it is told without its address', async () => {
  await using index = await openIndex()
  const { host } = new URL(index.fake.url)
  const message = `upstream ${host} (10.1.2.3:8108) did not answer`
  index.fake.faults.answer(400, { message }, { on: 'all', times: Infinity })
  const failed = await failure(index.typesense.listCollections())
  expect(failed.message).toContain('did not answer')
  expect(JSON.stringify([failed.message, failed.hint])).not.toMatch(/127\.0\.0\.1|10\.1\.2\.3|:\d{4}/)
})

test('what others wrote to the index alone may be missed after a swap, and never by a reindex', async () => {
  await using index = await openIndex({ mapping: unsampled })
  await index.make(j0)
  const previous = await swapByHand(index, j1, ['Part'])
  await tamper(index, ['{"id":"p30","name":"not its name","stock":1,"tags":[]}'])
  await index.client.query(oneChange)
  expect(await incremental(index, previous)).toMatchObject({ reason: fromPrevious, upserted: 1 })
  expect(await incremental(index, undefined, j2)).toMatchObject({ reason: fromIndex, upserted: 1 })
  await index.isEqual()
})

test('a declared part beyond int32 is found in rows that are not drawn, because the server takes it for another number', async () => {
  await using index = await openIndex()
  await index.client.query(`
    create table public.thing (id text primary key, specs jsonb not null);
    insert into public.thing select 't' || n, jsonb_build_object('one', jsonb_build_object('many', n), 'list', array[1, n])
    from generate_series(1, 20) n;
    update public.thing set specs = jsonb_build_object('one', jsonb_build_object('many', 3000000000), 'list', array[1, -3000000000])
    where id = (select id from public.thing where hashtext(id collate "C") % 2 <> 0 limit 1)`)
  const url = { name: 'staging', url: index.database.url, viaProxy: false }
  await using session = await openSession(url, {
    purpose: 'test',
    signal: AbortSignal.timeout(SOON_MS),
    readOnly: true,
  })
  const compiled = await compileMapping(
    session,
    'things',
    mappingSchema.parse({
      from: 'public.thing',
      fields: [
        { name: 'specs', type: 'object' },
        { name: 'specs.one.many', type: 'int32' },
        { name: 'specs.list', type: 'int32[]' },
      ],
      collection: { enable_nested_fields: true },
    }),
  )
  for (const rowCount of [20, 100_000]) {
    const found = await findUnfitParts(session, compiled, rowCount)
    expect(found.toSorted(), String(rowCount)).toEqual([
      expect.stringMatching(/^1 .*specs\.list/),
      expect.stringMatching(/^1 .*specs\.one\.many/),
    ])
  }
})
