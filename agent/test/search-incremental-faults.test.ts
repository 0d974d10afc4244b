import { mappingSchema } from '@multiboard-sync/shared/mapping'
import { expect, test } from 'vitest'
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
  partsSql,
  planted,
  swapByHand,
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
  await using index = await openIndex({
    mapping: mappingSchema.parse({
      from: 'public."Part"',
      fields: fields.filter(({ name }) => name === 'name'),
      verify: { max_shrink_pct: 50, sample: 20 },
    }),
  })
  await index.client.query(`insert into public."Part"
    select gen_random_uuid(), 'more', 1, 1, '{}', null from generate_series(1, 50000)`)
  await index.make(j0)
  await index.client.query(
    `delete from public."Part" where id in (select id from public."Part" where name = 'more' limit 10000)`,
  )
  forget(index)
  expect(await incremental(index)).toMatchObject({ upserted: 0, deleted: 10_000, documents: 40_200 })
  const deletes = index.fake.requests.filter(({ method }) => method === 'DELETE')
  expect(Math.max(...deletes.map(({ path, query }) => path.length + query.length))).toBeLessThan(8_000)
  expect(index.sent.deletes).toHaveLength(10_000)
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
