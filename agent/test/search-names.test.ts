import { startTypesense } from '@multiboard-sync/shared/testing/typesense'
import { afterEach, expect, it } from 'vitest'
import { openTypesense } from '../src/typesense/open-typesense.ts'

/** Names and ids that a search server understands otherwise than they are meant. */

const KEY = 'a-secret-key'
let stack = new AsyncDisposableStack()

afterEach(async () => {
  await stack.disposeAsync()
  stack = new AsyncDisposableStack()
})

const schema = { fields: [{ name: 'title', type: 'string' }] }
const IDS = [
  '*',
  ' * ',
  '.',
  '..',
  'search',
  'export',
  'import',
  '../..',
  'a,b',
  'a`b',
  'x]y',
  'a b/c?',
  'a\\',
  '&&',
  'ü',
  'a%2Fb',
  '"q"',
  '(a)',
  'z',
]

async function open(version = '30.0') {
  const server = stack.use(await startTypesense({ version, apiKey: KEY }))
  const { signal } = new AbortController()
  const typesense = stack.use(await openTypesense({ url: new URL(server.url), apiKey: KEY, signal }))
  await typesense.createCollection({ name: 'c1', schema, metadata: { a: 1 } })
  await typesense.createCollection({ name: 'c2', schema, metadata: {} })
  await typesense.putAlias('live', 'c1')
  const body = Buffer.from(IDS.map((id) => `${JSON.stringify({ id, title: id })}\n`).join(''))
  expect(await typesense.importDocuments('c1', body, { lines: IDS.length, action: 'create' })).toEqual([])
  return { server, typesense }
}

it('a document is read and deleted by its id, whatever it is, and no other with it', async () => {
  const { server, typesense } = await open()
  for (const [n, id] of IDS.entries()) {
    expect(JSON.parse((await typesense.readDocument('c1', id)) ?? '')).toEqual({ id, title: id })
    expect(await typesense.deleteDocuments('c1', [id, 'not there', 'nor`this'])).toBe(1)
    expect(await typesense.readDocument('c1', id)).toBeUndefined()
    expect(server.documents('c1')).toHaveLength(IDS.length - n - 1)
  }
  expect(server.collections()).toEqual(['c1', 'c2'])
})

it('all of them are deleted by one call', async () => {
  const { server, typesense } = await open()
  expect(await typesense.deleteDocuments('c1', IDS)).toBe(IDS.length)
  expect(server.documents('c1')).toEqual([])
  expect(server.collections()).toEqual(['c1', 'c2'])
})

it('nothing is dropped by an alias, and nothing that an alias points to', async () => {
  const { server, typesense } = await open()
  await expect(typesense.dropCollection('live')).rejects.toMatchObject({ code: 'search-changed' })
  await expect(typesense.dropCollection('c1')).rejects.toMatchObject({ code: 'search-changed' })
  expect(server.requests.filter(({ method }) => method === 'DELETE')).toEqual([])
  await typesense.dropCollection('c2')
  await typesense.dropCollection('c2')
  expect(server.collections()).toEqual(['c1'])
})

it('no collection is made under the name of an alias, and no alias points to nothing or to an alias', async () => {
  const { server, typesense } = await open()
  const changed = { code: 'search-changed' }
  await expect(typesense.createCollection({ name: 'live', schema, metadata: {} })).rejects.toMatchObject(changed)
  await expect(typesense.copyCollection('c1', 'live')).rejects.toMatchObject(changed)
  await expect(typesense.setMetadata('live', {})).rejects.toMatchObject(changed)
  await expect(typesense.putAlias('other', 'nothing')).rejects.toMatchObject(changed)
  await expect(typesense.putAlias('other', 'live')).rejects.toMatchObject(changed)
  await expect(typesense.putAlias('c2', 'c1')).rejects.toMatchObject({ code: 'search-failed', retryable: false })
  expect([...server.aliases()]).toEqual([['live', 'c1']])
  expect(await typesense.findCollection('live')).toBeUndefined()
  expect(await typesense.findCollection('c1')).toMatchObject({ documents: IDS.length, metadata: { a: 1 } })
  expect(await typesense.searchAll('live')).toBe(IDS.length)
})

it('a collection may be made twice in the same words, for the first answer may be lost', async () => {
  const { server, typesense } = await open()
  const wanted = { name: 'c3', schema, metadata: { b: { y: 1, x: [2] } } }
  server.faults.cut({ applied: true, on: ({ method, path }) => method === 'POST' && path === '/collections' })
  await expect(typesense.createCollection(wanted)).rejects.toMatchObject({ retryable: true })
  await typesense.createCollection(wanted)
  await expect(typesense.createCollection({ ...wanted, metadata: { b: 2 } })).rejects.toMatchObject({
    code: 'search-failed',
  })
  await expect(typesense.createCollection({ name: 'c1', schema, metadata: { a: 1 } })).rejects.toMatchObject({
    code: 'search-failed',
  })
})

it('before version 30 synonyms and overrides are carried from one collection to another', async () => {
  const { typesense } = await open('29.0')
  expect(typesense).toMatchObject({ hasSets: false, version: { major: 29 } })
  const belongings = {
    synonyms: [{ id: 'bolts/screws', synonyms: ['bolt', 'screw'] }],
    overrides: [{ id: 'first', rule: { query: 'bolt', match: 'exact' }, includes: [{ id: 'z', position: 1 }] }],
  }
  await typesense.writeBelongings('c1', belongings)
  const read = await typesense.readBelongings('c1')
  expect(read).toMatchObject(belongings)
  await typesense.writeBelongings('c2', read)
  expect(await typesense.readBelongings('c2')).toEqual(read)
  await expect(typesense.copyCollection('c1', 'c9')).rejects.toMatchObject({ code: 'search-failed' })
  expect(await typesense.listSets()).toEqual({ synonymSets: [], curationSets: [] })
})

it('a key that may not see the queue or the metrics is told of', async () => {
  const { server, typesense } = await open()
  server.faults.forbid({ on: ({ path }) => path === '/status' || path === '/metrics.json' })
  expect(await typesense.queuedWrites()).toBe(0)
  expect(await typesense.capacity()).toBeUndefined()
  server.faults.clear()
  expect(await typesense.capacity()).toEqual(server.capacity)
})
