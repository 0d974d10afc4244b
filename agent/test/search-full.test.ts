import { afterAll, beforeAll, expect, test } from 'vitest'
import { readGeneration } from '../src/reindex/generation.ts'
import { ALIAS, jobOf, openScene, type Scene } from './search/scene.ts'

let scene: Scene
beforeAll(async () => void (scene = await openScene()))
afterAll(async () => await scene[Symbol.asyncDispose]())

test('The first reindex puts a proven generation of all documents behind the alias', async () => {
  const result = await scene.reindex(jobOf(1))
  const { fake, steps, told } = scene
  const name = fake.aliases().get(ALIAS) ?? ''
  expect(result).toMatchObject({ state: 'fresh', mode: 'full', collection: name, documents: 300, compared: 200 })
  expect(name).toMatch(/^parts__\d{8}T\d{6}Z_j000000000001$/)
  expect(readGeneration({ name, metadata: fake.metadata(name) ?? {} })).toMatchObject({
    alias: ALIAS,
    job: jobOf(1),
    state: 'complete',
    documents_checksum: expect.stringMatching(/^-?\d+$/),
  })
  expect(steps).toEqual([{ job: jobOf(1), step: 'generation-made', data: { alias: ALIAS, collection: name } }])
  expect(told).toContainEqual({ type: 'search.alias-set', data: { alias: ALIAS, collection: name } })
  await scene.expectFresh()
})
