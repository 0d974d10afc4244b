import { expect, test } from 'vitest'
import { readGeneration } from '../src/reindex/generation.ts'
import { ALIAS, failureOf, jobOf, openScene, type Scene } from './search/scene.ts'

const PLAIN = ['{"id":"a","name":"plain"}', '{"id":"b","name":"plain"}']

async function addPlain({ ask }: Scene): Promise<void> {
  await ask('POST', '/collections', {
    name: ALIAS,
    fields: [{ name: 'name', type: 'string' }],
    metadata: { by: 'hand' },
  })
  await ask('POST', `/collections/${ALIAS}/documents/import`, PLAIN.join('\n'))
}

test('A plain collection of the name makes room for the alias, and a copy of it is kept', async () => {
  await using scene = await openScene()
  const { fake, steps } = scene
  await addPlain(scene)
  const result = await scene.reindex(jobOf(1))
  const made = steps.filter(({ step }) => step === 'generation-made').map(({ data }) => data['collection'] ?? '')
  expect(steps.map(({ step }) => step)).toEqual(['generation-made', 'generation-made', 'adopting'])
  const [name = '', copy = ''] = made
  expect(result).toMatchObject({ state: 'fresh', collection: name, documents: 300 })
  expect(fake.aliases()).toEqual(new Map([[ALIAS, name]]))
  expect(fake.collections().toSorted()).toEqual([name, copy].toSorted())
  await scene.expectFresh()
  expect(fake.documents(copy)).toEqual(PLAIN)
  const metadata = fake.metadata(copy) ?? {}
  expect(metadata).toMatchObject({ by: 'hand' })
  expect(readGeneration({ name: copy, metadata })).toMatchObject({ state: 'complete', replaced_by: jobOf(1) })
  // Nothing is left to be done, and doing it again changes nothing.
  expect(await scene.settle(jobOf(1))).toEqual({ finished: [], dropped: [], kept: [name, copy] })
})

test('Without room for a copy the plain collection goes all the same, when its successor is proven', async () => {
  await using scene = await openScene()
  await addPlain(scene)
  Object.assign(scene.fake.capacity, { memoryTotalBytes: 1000, memoryUsedBytes: 999 })
  const { collection } = await scene.reindex(jobOf(1))
  expect(scene.fake.collections()).toEqual([collection])
  await scene.expectFresh()
})

test('Before version 30, where nothing can be copied, a plain collection is replaced with its synonyms carried over', async () => {
  await using scene = await openScene({ version: '29.0' })
  await addPlain(scene)
  await scene.ask('PUT', `/collections/${ALIAS}/synonyms/words`, { synonyms: ['part', 'component'] })
  const { collection } = await scene.reindex(jobOf(1))
  expect(scene.fake.collections()).toEqual([collection])
  const { synonyms } = await scene.typesense.readBelongings(collection ?? '')
  expect(synonyms).toEqual([expect.objectContaining({ id: 'words', synonyms: ['part', 'component'] })])
})

test('What the live collection is linked to, its successor is linked to as well', async () => {
  await using scene = await openScene()
  await scene.reindex(jobOf(1))
  const { ask, fake } = scene
  await ask('PUT', '/synonym_sets/words', { items: [{ id: 'a', synonyms: ['part', 'component'] }] })
  await ask('PUT', '/curation_sets/picks', {
    items: [{ id: 'b', rule: { query: 'part', match: 'exact' }, includes: [{ id: '1', position: 1 }] }],
  })
  const links = { synonym_sets: ['words'], curation_sets: ['picks'] }
  expect(await ask('PATCH', `/collections/${fake.aliases().get(ALIAS)}`, links)).toMatchObject({ status: 200 })
  const { collection } = await scene.reindex(jobOf(2))
  expect(await scene.typesense.findCollection(collection ?? '')).toMatchObject({
    synonymSets: ['words'],
    curationSets: ['picks'],
  })
})

test('Before version 30, synonyms and overrides of the live collection are copied to its successor', async () => {
  await using scene = await openScene({ version: '29.0' })
  const { ask, fake, typesense } = scene
  await scene.reindex(jobOf(1))
  const live = fake.aliases().get(ALIAS)
  await ask('PUT', `/collections/${live}/synonyms/words`, { synonyms: ['part', 'component'] })
  await ask('PUT', `/collections/${live}/overrides/picks`, {
    rule: { query: 'part', match: 'exact' },
    includes: [{ id: '1', position: 1 }],
  })
  const { collection } = await scene.reindex(jobOf(2))
  const before = await typesense.readBelongings(live ?? '')
  expect(before).toMatchObject({ synonyms: [{ id: 'words' }], overrides: [{ id: 'picks' }] })
  expect(await typesense.readBelongings(collection ?? '')).toEqual(before)
})

test('A plain collection that hides an alias of its name is not touched', async () => {
  await using scene = await openScene()
  const { ask, fake } = scene
  await ask('PUT', `/aliases/${ALIAS}`, { collection_name: 'elsewhere' })
  await addPlain(scene)
  const planned = await scene.plan()
  const live = await scene.typesense.findCollection(ALIAS)
  const failure = await failureOf(scene.reindexPlanned(jobOf(1), { ...planned, live }))
  expect(failure).toMatchObject({ code: 'search-changed', hint: expect.stringContaining('DELETE /aliases/parts') })
  expect(fake.collections()).toEqual([ALIAS])
  expect(fake.documents(ALIAS)).toEqual(PLAIN)
})

test('An alias that cannot be set after the plain collection is gone is set as soon as that is possible', async () => {
  await using scene = await openScene()
  const { fake } = scene
  await addPlain(scene)
  const isAlias = ({ method, path }: { method: string; path: string }) =>
    method === 'PUT' && path.startsWith('/aliases')
  // Would not be tried again anywhere else.
  fake.faults.answer(422, { message: 'Rejecting write: running out of resource type: OUT_OF_MEMORY' }, { on: isAlias })
  const { collection } = await scene.reindex(jobOf(1), { over: { giveUpAfterMs: 20_000 } })
  expect(fake.aliases().get(ALIAS)).toBe(collection)
  await scene.expectFresh()
})
