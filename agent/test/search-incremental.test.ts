import { mappingSchema } from '@multiboard-sync/shared/mapping'
import { expect, test } from 'vitest'
import { reindexIncrementally } from '../src/reindex/incremental/reindex-incrementally.ts'
import { listPrevious } from '../src/restore/swap/previous.ts'
import {
  forget,
  fromIndex,
  fromPrevious,
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
  type Index,
} from './search-live-index.ts'
import { failure, open, stage, swap, undoJob } from './swap-place.ts'

/** No document is read back by chance: what is to be found must be found for sure. */
const unsampled = mappingSchema.parse({ ...partsMapping, verify: { sample: 0 } })
const exports = ({ fake }: Index) => fake.requests.filter(({ path }) => path.endsWith('/export'))

const alien = '{"id":"alien","name":"x","stock":1,"tags":[]}'
const changed = '{"id":"p30","name":"not its name","stock":1,"tags":[]}'

test('exactly what differs from the previous tables is sent', async () => {
  await using index = await openIndex()
  const name = await index.make(j0)
  const previous = await swapByHand(index, j1, ['Part'])
  await index.client.query(planted)
  forget(index)

  expect(await incremental(index, previous)).toMatchObject({
    state: 'fresh',
    mode: 'incremental',
    reason: fromPrevious,
    collection: name,
    documents: 199,
    upserted: 4,
    deleted: 2,
  })
  expect(index.sent.upserts.toSorted()).toEqual(['new', 'p1', 'p2', 'p4'])
  expect(index.sent.deletes.toSorted()).toEqual(['p10', 'p11'])
  expect(exports(index)).toEqual([])
  // The mark before, one import, one delete, the mark after.
  expect(writes(index).map(({ method }) => method)).toEqual(['PATCH', 'POST', 'DELETE', 'PATCH'])
  await index.isEqual()
  expect(index.fake.metadata(name)).toMatchObject({ multiboard_sync: { updated_by: j1, state: 'complete' } })
})

test('after a swap, and after its undo, exactly what it has changed is sent', async () => {
  await using place = await open(partsSql)
  await using index = await openIndex({ database: place.database })
  const name = await index.make(j0)
  const previousOf = async (job: string) => {
    const asides = await listPrevious(place.target.session)
    return asides.find((aside) => aside.job === job)
  }
  const twins = (schema: string) => `create table ${schema}."Part" (like public."Part" including all);
    insert into ${schema}."Part" select * from public."Part"; ${planted.replaceAll('public', schema)}`
  await swap(place, await stage(place, j1, ['Part'], twins))
  expect(await incremental(index, await previousOf(j1))).toMatchObject({
    reason: fromPrevious,
    collection: name,
    upserted: 4,
    deleted: 2,
  })
  await index.isEqual()
  await undoJob(place, j1, j2)
  expect(await incremental(index, await previousOf(j2), j2)).toMatchObject({
    reason: fromPrevious,
    collection: name,
    upserted: 5,
    deleted: 1,
  })
  await index.isEqual()
})

test('without previous tables the index itself is compared, and exactly what differs is sent', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await index.client.query(planted)

  expect(await incremental(index)).toMatchObject({ reason: fromIndex, documents: 199, upserted: 4, deleted: 2 })
  expect(index.sent.upserts.toSorted()).toEqual(['new', 'p1', 'p2', 'p4'])
  expect(index.sent.deletes.toSorted()).toEqual(['p10', 'p11'])
  await index.isEqual()
})

test('where nothing has changed, nothing is sent', async () => {
  await using index = await openIndex()
  await index.make(j0)
  forget(index)
  expect(await incremental(index)).toMatchObject({ reason: fromIndex, upserted: 0, deleted: 0, documents: 200 })
  const previous = await swapByHand(index, j1, ['Part'])
  expect(await incremental(index, previous)).toMatchObject({ reason: fromPrevious, upserted: 0, deleted: 0 })
  expect(writes(index)).toEqual([])
})

test('documents of which only a joined table has changed are found', async () => {
  await using index = await openIndex()
  await index.make(j0)
  const previous = await swapByHand(index, j1, ['Part', 'Category'])
  await index.client.query(`update public."Category" set name = 'renamed' where id = 3;
    delete from public."Category" where id = 5`)

  expect(await incremental(index, previous)).toMatchObject({ reason: fromPrevious, upserted: 20, deleted: 0 })
  await index.isEqual()
  expect(index.sent.upserts).toContain('p2')
  expect(index.sent.upserts).toContain('p4')
})

test('a joined table that was changed in place, and not swapped, makes the index be compared itself', async () => {
  await using index = await openIndex()
  await index.make(j0)
  await index.client.query(`update public."Category" set name = 'renamed' where id = 3`)
  const previous = await swapByHand(index, j1, ['Part'])
  await index.client.query(oneChange)

  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex, upserted: 11 })
  await index.isEqual()
})

test('a row that somebody had changed in the target, as the source has it now, is not lost between the two', async () => {
  await using index = await openIndex({ mapping: unsampled })
  await index.make(j0)
  // Equal in number, and equal in the previous and the live tables: only the sum of the documents tells.
  await index.client.query(oneChange)
  const previous = await swapByHand(index, j1, ['Part'])

  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex, upserted: 1 })
  await index.isEqual()
})

test('a generation without a sum of its documents is compared itself, and gets one', async () => {
  await using index = await openIndex()
  const name = await index.make(j0, { documents_checksum: undefined })
  const previous = await swapByHand(index, j1, ['Part'])
  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex, upserted: 0 })
  expect(index.fake.metadata(name)).toMatchObject({ multiboard_sync: { documents_checksum: expect.any(String) } })
  expect(await incremental(index, previous, j2)).toMatchObject({ reason: fromPrevious })
})

test('an index that lacks documents, has others, or a changed one is healed', async () => {
  await using index = await openIndex({ mapping: unsampled })
  await index.make(j0)
  const previous = await swapByHand(index, j1, ['Part'])
  await index.client.query(oneChange)

  await tamper(index, [], ['p20'])
  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex, upserted: 2, deleted: 0 })
  await index.isEqual()
  await tamper(index, [alien])
  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex, upserted: 0, deleted: 1 })
  await index.isEqual()
  await tamper(index, [changed])
  expect(await incremental(index)).toMatchObject({ reason: fromIndex, upserted: 1, deleted: 0 })
  await index.isEqual()
})

test('an index of the right number that others have written to is not taken for what the previous tables say', async () => {
  await using index = await openIndex()
  await index.make(j0)
  const previous = await swapByHand(index, j1, ['Part'])
  await tamper(index, [alien], ['p20'])
  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex, upserted: 1, deleted: 1 })
  await index.isEqual()
  await tamper(index, [changed])
  expect(await incremental(index, previous)).toMatchObject({ reason: fromIndex, upserted: 1, deleted: 0 })
  await index.isEqual()
})

test('as many changes as a fifth of the documents ask for a full reindex, one less does not', async () => {
  await using index = await openIndex()
  const name = await index.make(j0)
  forget(index)
  await index.client.query(`update public."Part" set stock = -stock where id in (select 'p' || generate_series(1, 40))`)
  expect(await incremental(index)).toEqual({ full: 'at least 20 % of the documents have changed' })
  expect(writes(index)).toEqual([])
  await index.client.query(`update public."Part" set stock = -stock where id = 'p40'`)
  expect(await incremental(index)).toMatchObject({ upserted: 39, collection: name })
})

test('what cannot be brought up to date is not written to', async () => {
  await using index = await openIndex()
  await index.make(j0)
  const planned = await index.plan()
  forget(index)
  const { live } = planned
  if (!live) throw new Error('no live collection')
  const reasonOf = async (over: Partial<typeof planned>) =>
    await reindexIncrementally(index.run(j1), { ...planned, ...over })
  expect(await reasonOf({ live: undefined })).toEqual({ full: 'there is no index yet' })
  expect(await reasonOf({ live: { ...live, name: 'other' } })).toEqual({
    full: 'the alias does not point to the collection that was planned with',
  })

  const tags = { ...partsMapping, fields: partsMapping.fields.filter(({ name }) => name !== 'tags') }
  expect(await reasonOf({ compiled: { ...planned.compiled, mapping: tags } })).toEqual({
    full: 'the mapping, or a type that it maps, has changed',
  })
  expect(writes(index)).toEqual([])

  await index.make(j2, { state: 'building' })
  expect(await incremental(index)).toEqual({ full: 'the live collection was never proven' })
  await index.typesense.setMetadata(index.fake.aliases().get('parts') ?? '', {})
  expect(await incremental(index)).toEqual({ full: 'the live collection is not of our making' })
})

test('a column that has got another type, or a live schema that was altered, asks for a full reindex', async () => {
  await using index = await openIndex()
  const name = await index.make(j0)
  await fetch(`${index.fake.url}/collections/${name}`, {
    method: 'PATCH',
    headers: { 'x-typesense-api-key': index.fake.apiKey, 'content-type': 'application/json' },
    body: JSON.stringify({ fields: [{ name: 'extra', type: 'string', optional: true }] }),
  })
  expect(await incremental(index)).toMatchObject({ full: expect.stringContaining('extra') })
  await index.client.query(`alter table public."Part" alter stock type int using 1`)
  expect(await incremental(index)).toEqual({ full: 'the mapping, or a type that it maps, has changed' })
})

test('too few rows are refused before anything is written', async () => {
  await using index = await openIndex({
    mapping: mappingSchema.parse({ ...partsMapping, verify: { max_shrink_pct: 5, min_count: 150 } }),
  })
  await index.make(j0)
  forget(index)
  await index.client.query(`delete from public."Part" where id in (select 'p' || generate_series(1, 15))`)
  expect((await failure(incremental(index))).code).toBe('search-shrunk')
  expect(writes(index)).toEqual([])
})

const odd = ['"', "'", '`', 'a`b', 'a,b', 'a b/c?#%', 'line\nbreak', 'ü€😀', '\\', '[x]', 'a && b', '..', '*']

test('ids of any characters are sent and deleted', async () => {
  await using index = await openIndex()
  const insert = `insert into public."Part" select id, 'odd', 1, 1, '{}', null from unnest($1::text[]) id`
  await index.client.query(insert, [odd.slice(0, 7)])
  await index.make(j0)
  await index.client.query(`delete from public."Part" where name = 'odd'`)
  await index.client.query(insert, [odd.slice(7)])
  forget(index)

  expect(await incremental(index)).toMatchObject({ upserted: odd.length - 7, deleted: 7 })
  expect(index.sent.deletes.toSorted()).toEqual(odd.slice(0, 7).toSorted())
  await index.isEqual()
  await index.client.query(`delete from public."Part" where name = 'odd'`)
  expect(await incremental(index)).toMatchObject({ upserted: 0, deleted: odd.length - 7 })
  await index.isEqual()
})
