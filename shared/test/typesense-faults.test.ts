import { setTimeout as pause } from 'node:timers/promises'
import { setupServer } from 'msw/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startTypesense, type FakeTypesense } from '../testing/typesense.ts'
import { typesenseHandlers } from '../testing/typesense/msw-handlers.ts'
import { openFake } from '../testing/typesense/open-fake.ts'

/** What goes wrong on demand, what keys may do, and the same server without a port. */

const DEADLINE_MS = 20_000
let typesense: FakeTypesense
beforeEach(async () => {
  typesense = await startTypesense()
  await ask('POST', '/collections', { name: 'c', fields: [{ name: 'title', type: 'string' }] })
})
afterEach(async () => await typesense.close())

async function ask(method: string, path: string, body?: object | string, key = typesense.apiKey) {
  const answer = await fetch(`${typesense.url}${path}`, {
    method,
    headers: { 'x-typesense-api-key': key },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(DEADLINE_MS),
  })
  return { status: answer.status, text: await answer.text() }
}
const line = (id: string) => `{"id":"${id}","title":"x"}`
const send = async (...ids: string[]) => await ask('POST', '/collections/c/documents/import', ids.map(line).join('\n'))
const health = async () => await ask('GET', '/health')
const queued = async () => Number(/"queued_writes":(\d+)/.exec((await ask('GET', '/status')).text)?.[1])
const cut = async (call: Promise<unknown>) => await call.then(String, () => 'cut')
async function until(label: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Never: ${label}`)
    await pause(5)
  }
}

describe('a fault', () => {
  it('is for so many requests, after so many others, and only for those it is meant for', async () => {
    typesense.faults.answer(429, { message: 'Slow down.' }, { times: 2, after: 1 })
    const statuses = []
    for (const id of ['1', '2', '3', '4']) statuses.push((await send(id)).status)
    expect(statuses).toEqual([200, 429, 429, 200])
    typesense.faults.answer(500, 'no JSON', { on: ({ path }) => path === '/aliases' })
    expect(await ask('GET', '/collections')).toMatchObject({ status: 200 })
    expect(await ask('GET', '/aliases')).toEqual({ status: 500, text: 'no JSON' })
    expect(typesense.requests.map(({ status }) => status).slice(-6)).toEqual([200, 429, 429, 200, 200, 500])
  })

  it('that refuses writes leaves reads, and a health of 200', async () => {
    typesense.faults.busy()
    expect(await send('1')).toEqual({ status: 503, text: '{ "message": "Not Ready or Lagging"}' })
    expect((await ask('PUT', '/aliases/a', { collection_name: 'c' })).status).toBe(503)
    expect((await ask('GET', '/collections/c')).status).toBe(200)
    expect(await health()).toEqual({ status: 200, text: '{"ok":true}' })
    typesense.faults.clear()
    expect((await send('1')).status).toBe(200)
  })

  it('of a full disk lets deletes through, and is told by a health that is ok', async () => {
    await send('1')
    typesense.faults.full('OUT_OF_DISK')
    const message = '{"message": "Rejecting write: running out of resource type: OUT_OF_DISK"}'
    expect(await send('2')).toEqual({ status: 422, text: message })
    expect((await ask('PUT', '/aliases/a', { collection_name: 'c' })).status).toBe(422)
    expect((await health()).text).toBe('{"ok":true,"resource_error":"OUT_OF_DISK"}')
    expect((await ask('DELETE', '/collections/c/documents/1')).status).toBe(200)
    expect((await ask('DELETE', '/collections/c')).status).toBe(200)
  })

  it('of a start answers 503, also to health, and still tells its status', async () => {
    typesense.faults.starting()
    expect(await health()).toEqual({ status: 503, text: '{"ok":false}' })
    expect((await ask('GET', '/collections')).status).toBe(503)
    expect((await ask('GET', '/status')).status).toBe(200)
  })

  it('of a key is a 401 until it is cleared', async () => {
    typesense.faults.forbid({ after: 1 })
    expect((await send('1')).status).toBe(200)
    expect((await send('2')).status).toBe(401)
    expect((await ask('GET', '/collections')).status).toBe(401)
  })

  it('in the reply leaves the documents in', async () => {
    typesense.faults.shortReply()
    expect((await send('1', '2')).text).toBe('{"success":true}')
    typesense.faults.emptyReply()
    expect(await send('3')).toEqual({ status: 200, text: '' })
    expect(typesense.documents('c')).toHaveLength(3)
  })

  it('that cuts the connection applies what came, or not, as it is told', async () => {
    typesense.faults.cut({ applied: true })
    expect(await cut(send('1'))).toBe('cut')
    typesense.faults.cut({ applied: false })
    expect(await cut(send('2'))).toBe('cut')
    typesense.faults.cutBody({ afterBytes: 1 })
    expect(await cut(send('3'))).toBe('cut')
    expect(typesense.documents('c')).toEqual([line('1')])
    typesense.faults.cutReply({ afterBytes: 5, on: 'exports' })
    expect(await cut(ask('GET', '/collections/c/documents/export'))).toBe('cut')
    expect((await ask('GET', '/collections/c/documents/export')).text).toBe(line('1'))
  })

  it('that stalls ends when it is cleared, and nothing was applied', async () => {
    typesense.faults.stall()
    const sending = cut(send('1'))
    await until(
      'the request comes',
      async () => await Promise.resolve(typesense.requests.at(-1)?.path.endsWith('import') === true),
    )
    typesense.faults.clear()
    expect(await sending).toBe('cut')
    expect(typesense.documents('c')).toEqual([])
  })
})

describe('indexing that is held', () => {
  it('queues writes of documents, which are answered when it goes on', async () => {
    typesense.faults.holdIndexing()
    const sending = send('1')
    await until('one write is queued', async () => (await queued()) === 1)
    expect(typesense.documents('c')).toEqual([])
    expect((await health()).text).toBe('{"ok":true}')
    typesense.faults.releaseIndexing()
    expect((await sending).status).toBe(200)
    expect(await queued()).toBe(0)
  })

  it('applies later what a cut connection had sent whole', async () => {
    typesense.faults.holdIndexing()
    typesense.faults.cut({ applied: true })
    expect(await cut(send('1'))).toBe('cut')
    expect([await queued(), typesense.documents('c')]).toEqual([1, []])
    typesense.faults.releaseIndexing()
    await until('it is in', async () => await Promise.resolve(typesense.documents('c').length === 1))
  })

  it('after a restart shows less than there is, and all of it when it has caught up', async () => {
    await send('1', '2', '3')
    typesense.faults.fallBehind({ queued: 7, documents: 1 })
    expect((await ask('GET', '/collections/c')).text).toContain('"num_documents":1')
    expect((await ask('GET', '/collections/c/documents/export')).text).toBe(line('1'))
    expect([await queued(), (await health()).text]).toEqual([7, '{"ok":true}'])
    typesense.faults.releaseIndexing()
    expect((await ask('GET', '/collections/c')).text).toContain('"num_documents":3')
  })
})

describe('a key', () => {
  const makeKey = async (actions: string[], collections: string[]) => {
    const made = await ask('POST', '/keys', { description: '', actions, collections })
    return /"value":"(\w+)"/.exec(made.text)?.[1] ?? ''
  }

  it('may do what it grants, for the collections that its patterns match as a whole', async () => {
    const key = await makeKey(['collections:*', 'documents:import'], ['c', 'parts.*'])
    const create = async (name: string) =>
      (await ask('POST', '/collections', { fields: [{ name: 't', type: 'string' }], name }, key)).status
    expect(await create('parts__1')).toBe(201)
    expect(await create('other')).toBe(401)
    await ask('POST', '/collections', { name: 'other', fields: [{ name: 't', type: 'string' }] })
    expect((await ask('GET', '/collections/other', undefined, key)).status).toBe(401)
    expect((await ask('GET', '/collections', undefined, key)).text).not.toContain('"other"')
    expect((await ask('GET', '/collections/c/documents/export', undefined, key)).status).toBe(401)
    expect((await ask('GET', '/status', undefined, key)).status).toBe(401)
  })

  it('sets aliases by aliases:upsert, not by aliases:create, and those of any collection', async () => {
    const put = async (key: string) => (await ask('PUT', '/aliases/a', { collection_name: 'c' }, key)).status
    expect(await put(await makeKey(['aliases:create'], ['.*']))).toBe(401)
    expect(await put(await makeKey(['aliases:upsert'], ['none']))).toBe(200)
  })
})

describe('what versions do differently', () => {
  it('synonyms and overrides belong to a collection before 30, and are sets from 30 on', async () => {
    const statuses = async (version: string) => {
      await using server = await startTypesense({ version })
      const headers = { 'x-typesense-api-key': server.apiKey }
      const put = async (path: string, body: object) =>
        (await fetch(`${server.url}${path}`, { method: 'PUT', headers, body: JSON.stringify(body) })).status
      await fetch(`${server.url}/collections`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ name: 'c', fields: [{ name: 't', type: 'string' }] }),
      })
      return [
        await put('/collections/c/synonyms/s', { synonyms: ['a', 'b'] }),
        await put('/collections/c/overrides/o', { rule: {} }),
        await put('/synonym_sets/s', { items: [] }),
        await put('/curation_sets/s', { items: [] }),
      ]
    }
    expect(await statuses('29.0')).toEqual([200, 200, 404, 404])
    expect(await statuses('30.0')).toEqual([404, 404, 200, 200])
  })

  it('a path with dots in it leads elsewhere: deleting a document called .. deletes the collection', async () => {
    expect((await ask('DELETE', '/collections/c/documents/%2e%2e')).status).toBe(200)
    expect(typesense.collections()).toEqual([])
  })
})

describe('without a port', () => {
  it('msw answers the same, faults included', async () => {
    const origin = 'https://search.example.com'
    const fake = openFake({ apiKey: 'k' })
    const handlers = setupServer(...typesenseHandlers(origin, fake))
    handlers.listen({ onUnhandledFrame: 'bypass' })
    try {
      const call = async (method: string, path: string, body?: string) =>
        await fetch(`${origin}${path}`, {
          method,
          headers: { 'x-typesense-api-key': 'k' },
          ...(body !== undefined && { body }),
        })
      const schema = '{"name":"c","fields":[{"name":"title","type":"string"}]}'
      expect((await call('POST', '/collections', schema)).status).toBe(201)
      const answer = await call('POST', '/collections/c/documents/import', `${line('1')}\n{`)
      expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
      expect((await answer.text()).split('\n')[0]).toBe('{"success":true}')
      expect(fake.documents('c')).toEqual([line('1')])
      fake.faults.cut({ applied: true })
      await expect(call('POST', '/collections/c/documents/import', line('2'))).rejects.toThrow('fetch')
      expect(fake.documents('c')).toHaveLength(2)
    } finally {
      handlers.close()
    }
  })
})
