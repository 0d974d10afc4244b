import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { mappingSchema } from '@multiboard-sync/shared/mapping'
import { expect, test } from 'vitest'
import { bePatient } from '../src/reindex/be-patient.ts'
import { makeTables } from '../src/reindex/incremental/difference.ts'
import { sendDifference } from '../src/reindex/incremental/send-difference.ts'
import { openSession } from '../src/postgres/session.ts'
import type { Typesense } from '../src/typesense/typesense.ts'
import { reindexIncrementally } from '../src/reindex/incremental/reindex-incrementally.ts'
import {
  fields,
  forget,
  fromIndex,
  incremental,
  j0,
  j1,
  j2,
  oneChange,
  openIndex,
  partsMapping,
  partsSql,
  planted,
  swapByHand,
  tamper,
  writes,
} from './search-live-index.ts'
import { failure } from './swap-place.ts'

test('a refused document asks for a full reindex, and the collection is not believed afterwards', async () => {
  await using index = await openIndex()
  const name = await index.make(j0)
  const previous = await swapByHand(index, j1, ['Part'])
  await index.client.query(planted)
  index.fake.faults.answer(
    200,
    '{"success":true}\n{"success":true}\n{"code":400,"error":"Field `name` must be a string.","success":false}\n{"success":true}',
  )
  expect(await incremental(index, previous)).toEqual({
    full: 'the search server refused 1 changed documents: until it is replaced, the live collection holds old and new ones',
  })
  expect(index.sent.deletes).toEqual([])
  expect(index.fake.metadata(name)).not.toHaveProperty('multiboard_sync.documents_checksum')
  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex })
  await index.isEqual()
})

test('connections that are cut in the middle of export, upserts and deletes are waited out', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await index.client.query(planted)
  const { faults } = index.fake
  faults.cutReply({ afterBytes: 5_000, on: 'exports' })
  faults.cut({ applied: true, on: 'imports' })
  faults.cut({ applied: true, on: ({ method }) => method === 'DELETE' })
  expect(await incremental(index)).toMatchObject({ upserted: 4, deleted: 2 })
  await index.isEqual()
  expect(index.told.map(({ type }) => type)).toContain('search.waiting')
})

test('after an end between upserts and deletes the next reindex makes the index equal', async () => {
  await using index = await openIndex()
  const name = await index.make(j0)
  const previous = await swapByHand(index, j1, ['Part'])
  await index.client.query(planted)
  index.fake.faults.forbid({ on: ({ method }) => method === 'DELETE', times: 1 })
  expect((await failure(incremental(index, previous))).code).toBe('search-auth')
  expect(index.sent.upserts).toHaveLength(4)
  expect(index.fake.metadata(name)).not.toHaveProperty('multiboard_sync.documents_checksum')

  forget(index)
  expect(await incremental(index, previous, j2)).toMatchObject({ reason: fromIndex, upserted: 0, deleted: 2 })
  await index.isEqual()
})

test('a half changed index is not believed when the same rows come back', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await index.client.query(planted)
  index.fake.faults.forbid({ on: ({ method }) => method === 'DELETE', times: 1 })
  expect((await failure(incremental(index))).code).toBe('search-auth')
  // The tables as they were when the index was proven last.
  await index.client.query(`drop table public."Part", public."Category"`)
  await index.client.query(partsSql)
  const previous = await swapByHand(index, j1, ['Part'])
  expect(await incremental(index, previous, j2)).toMatchObject({ reason: fromIndex })
  await index.isEqual()
})

test('ten thousand documents are deleted in lists that a proxy lets through', async () => {
  await using index = await openIndex()
  await index.client.query(`insert into public."Part"
    select gen_random_uuid(), 'more', 1, 1, '{}', null from generate_series(1, 10000)`)
  const name = await index.make(j0)
  const { compiled, live: collection, generation } = await index.plan()
  if (!collection || !generation) throw new Error('no generation is live')
  const run = index.run(j1)
  await using session = await openSession(run.database, { purpose: 'test', signal: run.signal })
  await makeTables(session)
  await session.run(`begin; insert into pg_temp.multiboard_sync_changes
    select id, null from public."Part" where name = 'more'`)
  forget(index)
  const open = { session, compiled, documents: 200, checksum: '', [Symbol.asyncDispose]: async () => undefined }
  const work = { run, patience: bePatient(run, 'parts'), open, collection, generation }
  await sendDifference(work, { upserts: 0, deletes: 10_000, withoutId: 0 })
  expect(index.fake.documents(name)).toHaveLength(200)
  expect(Math.max(...index.fake.requests.map(({ path, query }) => path.length + query.length))).toBeLessThan(8_000)
})

test('where no temporary table can be made, a full reindex is asked for', async () => {
  await using index = await openIndex()
  await index.make(j0)
  const { client, database } = index
  const role = `reader_${database.name}`
  await client.query(`revoke temp on database ${database.name} from public;
    create role ${role} login password 'x'; grant select on all tables in schema public to ${role}`)
  try {
    const url = new URL(database.url)
    url.username = role
    url.password = 'x'
    const run = { ...index.run(j1), database: { name: 'staging', url: url.href, viaProxy: false } }
    expect(await reindexIncrementally(run, await index.plan())).toEqual({
      full: 'the role may make no temporary tables in the database',
    })
  } finally {
    await client.query(`drop owned by ${role}; drop role ${role}`)
  }
})

test('an alias that is moved while the documents are compared is left alone', async () => {
  await using index = await openIndex()
  const old = await index.make(j0)
  const planned = await index.plan()
  await index.client.query(oneChange)
  const other = await index.make(j2)
  await index.typesense.putAlias('parts', old)
  const { typesense } = index
  const run = index.run(j1)
  const moving = {
    ...run,
    typesense: {
      ...run.typesense,
      exportDocuments: async (name: string) => {
        await typesense.putAlias('parts', other)
        return await typesense.exportDocuments(name)
      },
    },
  }
  forget(index)
  expect(await reindexIncrementally(moving, planned)).toEqual({
    full: 'the alias was pointed elsewhere in the meantime',
  })
  expect(index.sent.upserts).toEqual([])
})

test('a lost lease ends it before anything is written', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await index.client.query(oneChange)
  forget(index)
  const run = {
    ...index.run(j1),
    lease: { remainingMs: () => 0, waitUntilValid: async () => await Promise.reject(new Error('the lease is lost')) },
  }
  await expect(reindexIncrementally(run, await index.plan())).rejects.toThrow('the lease is lost')
  expect(writes(index)).toEqual([])
})

test('a cancel in the middle of the upserts ends it at once, and the next reindex makes the index equal', async () => {
  await using index = await openIndex()
  const name = await index.make(j0)
  await index.client.query(planted)
  index.fake.faults.stall()
  const stop = new AbortController()
  const run = index.run(j1)
  const { typesense: real } = run
  const typesense: Typesense = {
    ...real,
    importDocuments: async (...asked) => {
      setTimeout(() => stop.abort(new SyncError('canceled', 'Somebody canceled it.')), 20)
      return await real.importDocuments(...asked)
    },
  }
  const startedAt = performance.now()
  const canceled = reindexIncrementally({ ...run, typesense, signal: stop.signal }, await index.plan())
  expect((await failure(canceled)).code).toBe('canceled')
  expect(performance.now() - startedAt).toBeLessThan(10_000)
  expect(index.fake.metadata(name)).not.toHaveProperty('multiboard_sync.documents_checksum')
  index.fake.faults.clear()
  expect(await incremental(index)).toMatchObject({ upserted: 4, deleted: 2 })
  await index.isEqual()
})

test('a number that the search server prints with other digits is not sent again', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await index.client.query(oneChange)
  const run = index.run(j1)
  const typesense = {
    ...run.typesense,
    exportDocuments: async (name: string) =>
      Readable.from([
        (await text(await run.typesense.exportDocuments(name))).replace('"price":1.1,', '"price":1.1000000000000001,'),
      ]),
  }
  expect(await reindexIncrementally({ ...run, typesense }, await index.plan())).toMatchObject({ upserted: 1 })
  expect(index.sent.upserts).toEqual(['p7'])
})

test('a document that PostgreSQL cannot hold asks for a full reindex', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await tamper(index, [String.raw`{"id":"p3","name":"a\u0000b","stock":1,"tags":[]}`])
  expect(await incremental(index)).toEqual({
    full: expect.stringMatching(/^the index could not be compared: PostgreSQL reported .*22P05/),
  })
  expect(writes(index)).toEqual([])
})

test('an index that does not export what it says it holds asks for a full reindex', async () => {
  await using index = await openIndex()
  await index.make(j0)
  const run = index.run(j1)
  const typesense = { ...run.typesense, exportDocuments: async () => Readable.from(['{"id":"p1"}\n{"id":"p2"}']) }
  expect(await reindexIncrementally({ ...run, typesense }, await index.plan())).toEqual({
    full: 'the index says that it holds 200 documents, and exported 2',
  })
})

test('rows of one id ask for a full reindex, and a row without an id is refused before anything is written', async () => {
  await using index = await openIndex({
    mapping: mappingSchema.parse({ ...partsMapping, sql: undefined, depends_on: [], from: 'public.loose', fields }),
  })
  const { client } = index
  await client.query(`create table public.loose as select * from public."Part"`)
  await index.make(j0)
  await client.query(`insert into public.loose select * from public."Part" where id = 'p1'`)
  forget(index)
  expect(await incremental(index)).toEqual({
    full: expect.stringMatching(/^it is not equal to the rows afterwards: .* 200 documents, and there are 201 rows/),
  })
  expect(writes(index)).toEqual([])
  await client.query(`delete from public.loose where ctid = (select max(ctid) from public.loose);
    insert into public.loose values (null, 'nameless', 1, 1, '{}')`)
  expect((await failure(incremental(index))).code).toBe('documents-rejected')
  expect(writes(index)).toEqual([])
})

test('an older search server is brought up to date alike', async () => {
  await using index = await openIndex({ version: '29.0' })
  await index.make(j0)
  await index.client.query(planted)
  expect(await incremental(index)).toMatchObject({ upserted: 4, deleted: 2 })
  await index.isEqual()
})
