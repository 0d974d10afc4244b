import { request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { describeDrift } from '../src/reindex/mapping/describe-drift.ts'
import type { Typesense } from '../src/typesense/typesense.ts'
import { failure, openScene, part, SCHEMA, servers, type Scene } from './search-contract-scene.ts'

/** What we hold of a search server, and that our layer falls into none of its traps: names, imports and schemas. */

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

  describe('aliases', () => {
    it('an alias is never taken for a collection', async () => {
      await typesense.putAlias(alias, name)
      await expect(typesense.findCollection(alias)).resolves.toBeUndefined()
      await expect(typesense.findCollection(name)).resolves.toMatchObject({ name })
      const listed = (await typesense.listCollections()).map((collection) => collection.name)
      expect(listed).toContain(name)
      expect(listed).not.toContain(alias)
    })

    it('an alias leads to where it was pointed last, for a search as well', async () => {
      const next = `${name}_next`
      await typesense.createCollection({ name: next, schema: SCHEMA, metadata: {} })
      await scene.send(name, [part('a'), part('b')])
      await typesense.putAlias(alias, next)
      await expect(typesense.searchAll(alias)).resolves.toBe(0)
      await typesense.putAlias(alias, name)
      await expect(typesense.searchAll(alias)).resolves.toBe(2)
      expect((await typesense.listAliases()).get(alias)).toBe(name)
    })

    it('the server would delete the collection behind an alias; we drop nothing by an alias, nor what one points to', async () => {
      await typesense.putAlias(alias, name)
      expect(await failure(typesense.dropCollection(alias))).toBe('search-changed')
      expect(await failure(typesense.dropCollection(name))).toBe('search-changed')
      await expect(typesense.findCollection(name)).resolves.toMatchObject({ name })
      expect((await scene.ask('DELETE', `/collections/${alias}`)).status).toBe(200)
      await expect(typesense.findCollection(name)).resolves.toBeUndefined()
      expect((await typesense.listAliases()).get(alias)).toBe(name)
    })

    it('the server would make a collection that hides an alias; we refuse to', async () => {
      await scene.send(name, [part('a')])
      await typesense.putAlias(alias, name)
      expect(await failure(typesense.createCollection({ name: alias, schema: SCHEMA, metadata: {} }))).toBe(
        'search-changed',
      )
      await expect(typesense.searchAll(alias)).resolves.toBe(1)
      expect((await scene.ask('POST', '/collections', { name: alias, ...SCHEMA })).status).toBe(201)
      await expect(typesense.searchAll(alias)).resolves.toBe(0)
      expect((await scene.ask('DELETE', `/collections/${alias}`)).status).toBe(200)
      await expect(typesense.searchAll(alias)).resolves.toBe(1)
    })

    it('the server would point an alias at nothing; we refuse to', async () => {
      expect(await failure(typesense.putAlias(alias, `${name}_not_there`))).toBe('search-changed')
      expect((await typesense.listAliases()).has(alias)).toBe(false)
      expect((await scene.ask('PUT', `/aliases/${alias}`, { collection_name: `${name}_not_there` })).status).toBe(200)
      expect(await failure(typesense.searchAll(alias))).toBe('search-changed')
    })

    it('an alias cannot bear the name of a collection', async () => {
      const next = `${name}_next`
      await typesense.createCollection({ name: next, schema: SCHEMA, metadata: {} })
      expect(await failure(typesense.putAlias(next, name))).not.toBe('no failure')
      expect((await typesense.listAliases()).has(next)).toBe(false)
    })

    it('metadata is written to the collection of that name, and not by an alias', async () => {
      await typesense.putAlias(alias, name)
      await typesense.setMetadata(name, { run: '2', more: { deep: ['x'] } })
      expect((await typesense.findCollection(name))?.metadata).toEqual({ run: '2', more: { deep: ['x'] } })
      expect(await failure(typesense.setMetadata(alias, { run: '3' }))).toBe('search-changed')
    })

    it('dropping what is gone is no failure', async () => {
      await typesense.dropCollection(name)
      await expect(typesense.dropCollection(name)).resolves.toBeUndefined()
    })
  })

  describe('imports', () => {
    it('are answered with 200 also when documents are refused; we tell which, by their lines', async () => {
      const refused = await scene.send(name, [
        part('a'),
        { id: 'b', title: 'no qty' },
        part('c'),
        '{bad',
        part('d', { qty: 'many' }),
      ])
      expect(refused).toMatchObject([
        { line: 1, code: 400, error: expect.stringContaining('`qty` has been declared') },
        { line: 3, code: 400, error: expect.stringContaining('Bad JSON') },
        { line: 4, code: 400, error: 'Field `qty` must be an int32.' },
      ])
      await scene.settle()
      await expect(scene.count(name)).resolves.toBe(2)
    })

    it('refuse a document that is there with create, and do not double it with upsert', async () => {
      await scene.send(name, [part('a'), part('b')])
      await expect(scene.send(name, [part('b'), part('c')])).resolves.toMatchObject([{ line: 0, code: 409 }])
      await expect(scene.send(name, [part('a'), part('b'), part('c')], 'upsert')).resolves.toEqual([])
      await scene.settle()
      await expect(scene.count(name)).resolves.toBe(3)
    })

    it('would double a document without an id when it is sent again, so every document has one', async () => {
      const anonymous = { title: 'Anonymous', qty: 1 }
      await scene.send(name, [anonymous], 'upsert')
      await scene.send(name, [anonymous], 'upsert')
      await scene.settle()
      await expect(scene.count(name)).resolves.toBe(2)
    })

    it('replace the whole document with upsert: a column that was taken out of the mapping is gone', async () => {
      await scene.send(name, [part('a', { price: 1.5, note: 'old' })])
      await scene.send(name, [part('a')], 'upsert')
      expect(JSON.parse((await typesense.readDocument(name, 'a')) ?? '')).toEqual(part('a'))
    })

    it('take only strings for ids, and no empty ones', async () => {
      const refused = await scene.send(name, ['{"id":1,"title":"x","qty":1}', part('')])
      expect(refused.map(({ code }) => code)).toEqual([400, 400])
    })

    it('refuse a null in a required field, and leave it out of an optional one', async () => {
      const refused = await scene.send(name, [part('a', { title: null }), part('b', { price: null })])
      expect(refused).toMatchObject([{ line: 0, error: 'Field `title` must be a string.' }])
      expect(JSON.parse((await typesense.readDocument(name, 'b')) ?? '')).toEqual(part('b'))
    })

    it('take a value twice in one import in order: the last one stays', async () => {
      await expect(scene.send(name, [part('a'), part('a', { qty: 2 })], 'upsert')).resolves.toEqual([])
      expect(JSON.parse((await typesense.readDocument(name, 'a')) ?? '')).toMatchObject({ qty: 2 })
    })

    it('are applied after the last byte or not at all: one that breaks off leaves nothing', async () => {
      const url = new URL(`${scene.url}/collections/${name}/documents/import?action=create`)
      const lines = Array.from({ length: 20_000 }, (_, n) => JSON.stringify(part(`p${n}`))).join('\n')
      const sending = request(url, {
        method: 'POST',
        headers: { 'x-typesense-api-key': scene.apiKey, 'content-length': lines.length + 1000 },
      })
      const ended = new Promise((resolve) => sending.once('error', resolve).once('close', resolve))
      await new Promise((resolve) => sending.write(lines, resolve))
      await pause(100)
      await expect(scene.count(name)).resolves.toBe(0)
      sending.destroy()
      await ended
      await pause(100)
      await scene.settle()
      await expect(scene.count(name)).resolves.toBe(0)
    })

    it('into a collection that is gone are told as such', async () => {
      await typesense.dropCollection(name)
      expect(await failure(scene.send(name, [part('a')]))).toBe('search-changed')
    })
  })

  describe('schemas', () => {
    it('come back with every default filled in, which is no drift', async () => {
      const live = await typesense.findCollection(name)
      expect(live && Object.keys(live.fields[0] ?? {}).length).toBeGreaterThan(2)
      expect(live && describeDrift(SCHEMA, live)).toEqual([])
    })

    it('whose objects got children from the first document have not drifted; a later document of another type is refused', async () => {
      const nested = `${name}_nested`
      const schema = { fields: [{ name: 'specs', type: 'object' }], enable_nested_fields: true }
      await typesense.createCollection({ name: nested, schema, metadata: {} })
      name = nested
      await expect(scene.send(name, [{ id: 'a', specs: { w: 1 } }])).resolves.toEqual([])
      await expect(scene.send(name, [{ id: 'b', specs: { w: 'wide' } }])).resolves.toMatchObject([
        { line: 0, code: 400 },
      ])
      const live = await typesense.findCollection(name)
      expect(live?.fields.map((field) => [field.name, field.type])).toContainEqual(['specs.w', 'int64'])
      expect(live && describeDrift(schema, live)).toEqual([])
    })

    it('that the server refuses are refused by us with its reason', async () => {
      const schema = { fields: [{ name: 'specs', type: 'object' }] }
      const making = typesense.createCollection({ name: `${name}_bad`, schema, metadata: {} })
      await expect(making).rejects.toThrow('can be used only when nested fields are enabled')
    })

    it('may be made twice in the same words, but not over a collection of others', async () => {
      await typesense.createCollection({ name, schema: SCHEMA, metadata: { run: '1' } })
      const other = typesense.createCollection({ name, schema: SCHEMA, metadata: { run: '2' } })
      expect(await failure(other)).toBe('search-failed')
    })
  })
})
