import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sameDocument } from '../src/reindex/same-document.ts'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import type { Typesense } from '../src/typesense/typesense.ts'
import { failure, openScene, part, SCHEMA, servers, type Scene } from './search-contract-scene.ts'

/** What we hold of a search server, and that our layer falls into none of its traps: documents, and the server itself. */

describe.each(servers)('a search server ($server)', ({ start }) => {
  let scene: Scene
  let typesense: Typesense
  let name = ''
  let alias = ''

  beforeAll(async () => {
    scene = await openScene(start)
    typesense = scene.typesense
  })
  afterAll(async () => await scene[Symbol.asyncDispose]())
  beforeEach(async () => {
    name = await scene.begin()
    alias = `${name}_alias`
  })

  describe('values', () => {
    const stored = async () => (await typesense.readDocument(name, 'a')) ?? ''

    it('of 64 bits stay exact, where we read and where we export them', async () => {
      await scene.send(name, [`{"id":"a","title":"x","qty":1,"serial":9007199254740993,"big":-9223372036854775808}`])
      for (const told of [await stored(), await scene.exported(name)]) {
        expect(told).toContain('"serial":9007199254740993')
        expect(told).toContain('"big":-9223372036854775808')
      }
    })

    it('that are decimals go through a double, so exact ones are sent as strings', async () => {
      await scene.send(name, [`{"id":"a","title":"x","qty":1,"long":1234567890123456.7891,"short":1.10,"whole":5.0}`])
      expect(await stored()).toContain('"long":1.2345678901234567e+15')
      expect(await stored()).toContain('"short":1.1,')
      expect(await stored()).toContain('"whole":5.0}')
    })

    it('that are decimals may come back in other digits of the same double, which is no difference', async () => {
      const row = '{"id":"a","title":"x","qty":1,"price":11878280.6409}'
      await scene.send(name, [row])
      expect(await stored()).toContain('"price":11878280.640900001')
      expect(sameDocument(row, await stored())).toBe(true)
    })

    it('beyond the range of int32 are taken and wrap in the index, so ranges are checked before', async () => {
      await expect(scene.send(name, [part('a', { qty: 3_000_000_000 })])).resolves.toEqual([])
      expect(await stored()).toContain('"qty":3000000000')
      const found = await scene.ask('GET', `/collections/${name}/documents/search?q=*&filter_by=qty:<0`)
      expect(JSON.parse(found.text)).toMatchObject({ found: 1 })
    })

    it('of a float that need more than 24 bits are stored exactly and found by their neighbours', async () => {
      await scene.send(name, [part('a', { price: 16_777_217 })])
      expect(await stored()).toContain('"price":16777217')
      const found = await scene.ask('GET', `/collections/${name}/documents/search?q=*&filter_by=price:=16777216`)
      expect(JSON.parse(found.text)).toMatchObject({ found: 1 })
    })

    it('that are numbers in quotes are refused, and are not made to fit', async () => {
      const refused = await scene.send(name, [part('a', { serial: '123' }), part('b', { price: '1.5' })])
      expect(refused.map(({ error }) => error)).toEqual([
        'Field `serial` must be an int64.',
        'Field `price` must be a float.',
      ])
    })

    it('come back with their keys sorted, so documents are compared as JSON and not as text', async () => {
      await scene.send(name, [{ title: 'x', zeta: 1, qty: 1, id: 'a', Alpha: { b: 1, a: 2 } }])
      expect(await stored()).toBe('{"Alpha":{"a":2,"b":1},"id":"a","qty":1,"title":"x","zeta":1}')
    })

    it('of a null in an undeclared field stay with create, and go with upsert over it', async () => {
      await scene.send(name, [part('a', { note: null })])
      expect(await stored()).toContain('"note":null')
      await scene.send(name, [part('a', { note: null })], 'upsert')
      expect(await stored()).not.toContain('note')
    })
  })

  describe('documents', () => {
    const STRANGE = ['a b', 'a/b?c#d', 'x]y', 'a,b', 'a`b', '\\`', '*', 'ü💡', '%2F', ' lead', 'search', 'export', '"']

    it('are read and deleted by ids of any characters, and no others with them', async () => {
      await expect(
        scene.send(
          name,
          [...STRANGE, 'stays'].map((id) => part(id)),
        ),
      ).resolves.toEqual([])
      for (const id of STRANGE) {
        const found: unknown = JSON.parse((await typesense.readDocument(name, id)) ?? 'null')
        expect(found, id).toEqual(part(id))
      }
      for (const id of STRANGE) await expect(typesense.deleteDocuments(name, [id]), id).resolves.toBe(1)
      expect(await scene.exported(name, ['id'])).toBe('{"id":"stays"}')
    })

    it('that are not there are no failure of a delete, and one that is gone is not found', async () => {
      await scene.send(name, [part('a')])
      await expect(typesense.deleteDocuments(name, ['a', 'b', '*'])).resolves.toBe(1)
      await expect(typesense.readDocument(name, 'a')).resolves.toBeUndefined()
    })

    it('are deleted in lists that fit a URL, however many there are', async () => {
      const ids = Array.from({ length: 1500 }, (_, n) => `an id that takes some room in a URL, number ${n}`)
      await scene.send(
        name,
        [...ids, 'stays'].map((id) => part(id)),
      )
      await expect(typesense.deleteDocuments(name, ids)).resolves.toBe(1500)
      await scene.settle()
      await expect(scene.count(name)).resolves.toBe(1)
    })

    it('none in a list of ids deletes nothing', async () => {
      await scene.send(name, [part('a')])
      await expect(typesense.deleteDocuments(name, [])).resolves.toBe(0)
      await expect(scene.count(name)).resolves.toBe(1)
    })

    it('are exported in the order of insertion, without a newline at the end, and nothing of none', async () => {
      await expect(scene.exported(name)).resolves.toBe('')
      await scene.send(name, [part('b'), part('a'), part('c')])
      expect(await scene.exported(name, ['id'])).toBe('{"id":"b"}\n{"id":"a"}\n{"id":"c"}')
    })
  })

  describe('the server', () => {
    it('is healthy and has settled', async () => {
      await expect(typesense.health()).resolves.toMatchObject({ ok: true })
      await scene.settle()
      await expect(typesense.queuedWrites()).resolves.toBe(0)
    })

    it('tells what memory and disk there are', async () => {
      const capacity = await typesense.capacity()
      expect(capacity?.memoryTotalBytes).toBeGreaterThan(capacity?.memoryUsedBytes ?? Infinity)
      expect(capacity?.diskTotalBytes).toBeGreaterThan(capacity?.diskUsedBytes ?? Infinity)
    })

    it('refuses a wrong key, which is told as such', async () => {
      const wrong = openTypesense({ url: new URL(scene.url), apiKey: 'wrong', signal: new AbortController().signal })
      expect(await failure(wrong)).toBe('search-auth')
    })

    it('lets the key of these tests do all that a reindex does', async () => {
      await expect(typesense.missingRights(alias, `${name}_probe`)).resolves.toEqual([])
    })
  })

  describe('words', () => {
    it('are linked sets from version 30 on: they go with a new collection, and a copy takes links but no metadata', async (context) => {
      if (!typesense.hasSets) return context.skip('before version 30')
      const set = `${scene.prefix}words`
      const next = `${name}_next`
      const copy = `${name}_copy`
      await scene.ask('PUT', `/synonym_sets/${set}`, { items: [{ id: 'a', synonyms: ['bolt', 'screw'] }] })
      expect((await typesense.listSets()).synonymSets).toContain(set)
      await typesense.createCollection({ name: next, schema: SCHEMA, metadata: { run: '1' }, synonymSets: [set] })
      name = next
      await scene.send(name, [part('a')])
      await typesense.copyCollection(next, copy)
      await expect(typesense.findCollection(copy)).resolves.toMatchObject({
        documents: 1,
        metadata: {},
        synonymSets: [set],
      })
      await expect(typesense.readBelongings(next)).resolves.toEqual({ synonyms: [], overrides: [] })
      const missing = { name: `${name}_bad`, schema: SCHEMA, metadata: {}, synonymSets: [`${scene.prefix}none`] }
      expect(await failure(typesense.createCollection(missing))).not.toBe('no failure')
    })

    it('belong to one collection before version 30, and are carried to the next one', async (context) => {
      if (typesense.hasSets) return context.skip('from version 30 on')
      const next = `${name}_next`
      await scene.ask('PUT', `/collections/${name}/synonyms/s`, { synonyms: ['bolt', 'screw'] })
      const override = { rule: { query: 'bolt', match: 'exact' }, excludes: [{ id: 'a' }] }
      await scene.ask('PUT', `/collections/${name}/overrides/o`, override)
      await typesense.createCollection({ name: next, schema: SCHEMA, metadata: {} })
      await typesense.writeBelongings(next, await typesense.readBelongings(name))
      const carried = await typesense.readBelongings(next)
      expect(carried.synonyms).toMatchObject([{ id: 's', synonyms: ['bolt', 'screw'] }])
      expect(carried.overrides).toMatchObject([{ id: 'o', excludes: [{ id: 'a' }] }])
      await expect(typesense.listSets()).resolves.toEqual({ synonymSets: [], curationSets: [] })
    })
  })
})
