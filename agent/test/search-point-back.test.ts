import { expect, test } from 'vitest'
import { readGeneration, writeGeneration, type Generation } from '../src/reindex/generation.ts'
import { pointBack } from '../src/reindex/point-back.ts'
import { ALIAS, j0, j1, j2, j3, openIndex, partsMapping, tamper, type Index } from './search-live-index.ts'
import { failure } from './swap-place.ts'

const forth = `update public."Part" set stock = stock + 1 where id in ('p1', 'p2')`
const back = `update public."Part" set stock = stock - 1 where id in ('p1', 'p2')`

/** A job has changed the rows and taken the alias from one generation to the next. */
async function openReplaced(
  first: Partial<Generation> = {},
  version = '30.0',
): Promise<{ index: Index; old: string; young: string }> {
  const index = await openIndex({ version })
  const old = await index.make(j0, first)
  await index.client.query(forth)
  const young = await index.make(j1)
  await mark(index, old, { replaced_by: j1 })
  index.fake.requests.length = 0
  return { index, old, young }
}

async function mark(index: Index, name: string, over: Partial<Generation>): Promise<void> {
  const generation = generationOf(index, name)
  if (!generation) throw new Error(`${name} is no generation`)
  await index.typesense.setMetadata(name, writeGeneration({ ...generation, ...over }))
}

const generationOf = ({ fake }: Index, name: string) => readGeneration({ name, metadata: fake.metadata(name) ?? {} })
const aliasOf = ({ fake }: Index) => fake.aliases().get(ALIAS)
const writes = ({ fake }: Index) => fake.requests.filter(({ method }) => method !== 'GET').map(({ method }) => method)
const undo = async (index: Index, job = j2, undone = j1) => await pointBack(index.run(job), await index.plan(), undone)

test('an undo points the alias back to the collection that the job took it from, without a document sent', async () => {
  const { index, old, young } = await openReplaced()
  await using _ = index
  await index.client.query(back)

  expect(await undo(index)).toMatchObject({
    state: 'fresh',
    mode: 'pointed-back',
    collection: old,
    documents: 200,
    compared: 200,
    upserted: 0,
    deleted: 0,
  })
  expect(aliasOf(index)).toBe(old)
  expect(generationOf(index, young)?.replaced_by).toBe(j2)
  expect(generationOf(index, old)).toMatchObject({ state: 'complete', documents_checksum: expect.any(String) })
  expect(generationOf(index, old)).not.toHaveProperty('replaced_by')
  expect(writes(index)).toEqual(['PATCH', 'PUT', 'PATCH'])
  await index.isEqual()
  expect(index.told).toEqual([{ type: 'search.alias-set', data: { alias: ALIAS, collection: old, previous: young } }])
})

test('an undo is undone the same way round, and that again', async () => {
  const { index, old, young } = await openReplaced()
  await using _ = index
  await index.client.query(back)
  await undo(index)
  await index.client.query(forth)
  expect(await undo(index, j3, j2)).toMatchObject({ mode: 'pointed-back', collection: young })
  await index.isEqual()
  expect(generationOf(index, old)?.replaced_by).toBe(j3)
  await index.client.query(back)
  expect(await undo(index, 'j000000000004', j3)).toMatchObject({ mode: 'pointed-back', collection: old })
  await index.isEqual()
})

test('where rows were changed since, the alias stays, whatever tells it', async () => {
  for (const documents_checksum of [undefined, 'kept'] as const) {
    const { index, young } = await openReplaced(documents_checksum === undefined ? { documents_checksum } : {})
    await using _ = index
    await index.client.query(`${back}; update public."Part" set name = 'since' where id = 'p9'`)
    expect(await undo(index)).toEqual({
      instead: expect.stringMatching(
        documents_checksum === undefined ? /changed and never proven since/ : /rows have changed since/,
      ),
    })
    await index.client.query(`delete from public."Part" where id = 'p9'`)
    expect(await undo(index)).toEqual({
      instead: 'the collection that is kept holds 200 documents, and there are 199 rows',
    })
    expect(aliasOf(index)).toBe(young)
    expect(writes(index)).toEqual([])
  }
})

test('a kept collection in which others have changed documents is not pointed back to', async () => {
  const { index, old, young } = await openReplaced()
  await using _ = index
  await index.client.query(back)
  await index.typesense.putAlias(ALIAS, old)
  await tamper(index, ['{"id":"p30","name":"not its name","stock":1,"tags":[]}'])
  await index.typesense.putAlias(ALIAS, young)
  expect(await undo(index)).toEqual({ instead: expect.stringContaining('1 are not what their rows say') })
  expect(aliasOf(index)).toBe(young)
})

test('without such a generation another way is gone, and nothing is written', async () => {
  const { index, old, young } = await openReplaced()
  await using _ = index
  await index.client.query(back)
  const none = { instead: `no collection is kept that job ${j3} took the alias from` }
  expect(await undo(index, j2, j3)).toEqual(none)
  const planned = await index.plan()
  const other = { ...partsMapping, fields: partsMapping.fields.filter(({ name }) => name !== 'tags') }
  const changed = { ...planned, compiled: { ...planned.compiled, mapping: other } }
  expect(await pointBack(index.run(j2), changed, j1)).toEqual({
    instead: 'the mapping has changed since the collection was kept',
  })
  await mark(index, old, { state: 'building' })
  expect(await undo(index)).toEqual({ instead: 'the collection that is kept was never proven' })
  await index.typesense.dropCollection(old)
  expect(await undo(index)).toMatchObject({ instead: expect.stringContaining('no collection is kept') })
  expect(aliasOf(index)).toBe(young)
})

test('an end before the alias moves, and one after, leave an undo that can be made again', async () => {
  const { index, old, young } = await openReplaced()
  await using _ = index
  await index.client.query(back)
  index.fake.faults.forbid({ on: ({ method }) => method === 'PUT', times: 1 })
  expect((await failure(undo(index))).code).toBe('search-auth')
  expect(aliasOf(index)).toBe(young)
  expect(generationOf(index, old)?.replaced_by).toBe(j1)

  index.fake.faults.forbid({ on: ({ method, path }) => method === 'PATCH' && path.endsWith(old), times: 1 })
  expect((await failure(undo(index, j3))).code).toBe('search-auth')
  expect(aliasOf(index)).toBe(old)
  index.fake.requests.length = 0
  expect(await undo(index, 'j000000000004')).toMatchObject({ mode: 'pointed-back', collection: old })
  expect(writes(index)).toEqual(['PATCH'])
  expect(generationOf(index, young)?.replaced_by).toBe(j3)
  await index.isEqual()
})

test('an alias that somebody else has set is left alone', async () => {
  const { index } = await openReplaced()
  await using _ = index
  await index.client.query(back)
  const { schema } = (await index.plan()).compiled
  await index.typesense.createCollection({ name: 'theirs', schema, metadata: {} })
  await index.typesense.putAlias(ALIAS, 'theirs')
  expect((await failure(undo(index))).code).toBe('search-changed')
  expect(aliasOf(index)).toBe('theirs')
})

test('where the alias points nowhere, it is set', async () => {
  const { index, old, young } = await openReplaced()
  await using _ = index
  await index.client.query(back)
  await fetch(`${index.fake.url}/aliases/${ALIAS}`, {
    method: 'DELETE',
    headers: { 'x-typesense-api-key': index.fake.apiKey },
  })
  expect(await undo(index)).toMatchObject({ collection: old })
  expect(aliasOf(index)).toBe(old)
  expect(generationOf(index, young)).not.toHaveProperty('replaced_by')
})

test('synonyms that were set up since are not lost by an undo, before version 30 and after', async () => {
  for (const version of ['29.0', '30.0']) {
    const { index, old, young } = await openReplaced({}, version)
    await using _ = index
    await index.client.query(back)
    const path = version === '29.0' ? `collections/${young}/synonyms/one` : 'synonym_sets/one'
    const synonyms = ['part', 'piece']
    await put(index, path, version === '29.0' ? { synonyms } : { items: [{ id: 'one', synonyms }] })
    if (version === '30.0') await put(index, `collections/${young}`, { synonym_sets: ['one'] }, 'PATCH')
    expect(await undo(index)).toEqual({ instead: 'synonyms or curations have changed since the collection was kept' })
    expect(aliasOf(index)).toBe(young)

    if (version === '29.0') await put(index, `collections/${old}/synonyms/one`, { synonyms })
    else await put(index, `collections/${old}`, { synonym_sets: ['one'] }, 'PATCH')
    expect(await undo(index)).toMatchObject({ collection: old })
  }
})

async function put({ fake }: Index, path: string, body: object, method = 'PUT'): Promise<void> {
  const answer = await fetch(`${fake.url}/${path}`, {
    method,
    headers: { 'x-typesense-api-key': fake.apiKey, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  expect(await answer.text()).not.toContain('"message"')
}

test('a lost lease ends it before anything is written', async () => {
  const { index, young } = await openReplaced()
  await using _ = index
  await index.client.query(back)
  const lease = { remainingMs: () => 0, waitUntilValid: async () => await Promise.reject(new Error('it is lost')) }
  await expect(pointBack({ ...index.run(j2), lease }, await index.plan(), j1)).rejects.toThrow('it is lost')
  expect(aliasOf(index)).toBe(young)
  expect(writes(index)).toEqual([])
})
