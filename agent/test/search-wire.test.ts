import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { startTypesense } from '@multiboard-sync/shared/testing/typesense'
import { afterEach, describe, expect, it } from 'vitest'
import { importDocuments } from '../src/reindex/import-documents.ts'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import type { Typesense } from '../src/typesense/typesense.ts'

/** The connection to a search server: what it opens, follows, believes and lets go of. */

const KEY = 'a-secret-key'
const MiB = 1024 * 1024
const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }

interface Stub {
  url: URL
  requests: string[]
  /** Most connections at a time, and all that were ever made. */
  sockets: { open: Set<Socket>; most: number; all: number }
}

let stack = new AsyncDisposableStack()
let abort = new AbortController()

afterEach(async () => {
  await stack.disposeAsync()
  stack = new AsyncDisposableStack()
  abort = new AbortController()
})

/** A server of version 30.0 that answers the rest as it is told. */
async function startStub(answer: (request: IncomingMessage, response: ServerResponse) => unknown): Promise<Stub> {
  const requests: string[] = []
  const sockets: Stub['sockets'] = { open: new Set(), most: 0, all: 0 }
  const listener: RequestListener = (request, response) => {
    requests.push(`${request.method} ${request.url}`)
    if (request.url?.endsWith('/debug')) return response.writeHead(200, JSON_TYPE).end('{"version":"30.0"}')
    return answer(request, response)
  }
  const server = createServer(listener)
  server.on('connection', (socket) => {
    sockets.open.add(socket)
    sockets.all += 1
    sockets.most = Math.max(sockets.most, sockets.open.size)
    socket.once('close', () => sockets.open.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  stack.defer(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { url: new URL(`http://127.0.0.1:${address.port}`), requests, sockets }
}

async function connect(url: URL): Promise<Typesense> {
  return stack.use(await openTypesense({ url, apiKey: KEY, signal: abort.signal }))
}

/** V8's own, without a flag on the command line. */
function collectGarbage(): () => void {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  return () => {
    if (typeof collect === 'function') collect()
  }
}

const sendJson = (response: ServerResponse, body: object): unknown =>
  response.writeHead(200, JSON_TYPE).end(JSON.stringify(body))
const drained = async (request: IncomingMessage): Promise<number> => (await text(request)).length

it('a path in the address comes before every other, and the key goes in a header', async () => {
  const keys: unknown[] = []
  const stub = await startStub((request, response) => {
    keys.push(request.headers['x-typesense-api-key'])
    sendJson(response, request.url?.includes('export') ? { id: '1' } : { aliases: [] })
  })
  const typesense = await connect(new URL('/search/v1/', stub.url))
  await typesense.listAliases()
  await text(await typesense.exportDocuments('a b', { fields: ['id', 'x'] }))
  expect(stub.requests).toEqual([
    'GET /search/v1/debug',
    'GET /search/v1/aliases',
    'GET /search/v1/collections/a%20b/documents/export?include_fields=id%2Cx',
  ])
  expect(keys).toEqual([KEY, KEY])
})

it('a redirect is not followed, and the key goes nowhere else', async () => {
  const elsewhere = await startStub((_request, response) => sendJson(response, { aliases: [] }))
  const stub = await startStub((_request, response) =>
    response.writeHead(302, { location: new URL('/aliases', elsewhere.url).href }).end(),
  )
  const typesense = await connect(stub.url)
  await expect(typesense.listAliases()).rejects.toMatchObject({ code: 'search-failed', retryable: false })
  expect(elsewhere.requests).toEqual([])
})

it('many calls and imports at once share four connections, and then use them again', async () => {
  const stub = await startStub(async (request, response) => {
    await drained(request)
    await pause(3)
    sendJson(response, { aliases: [] })
  })
  const typesense = await connect(stub.url)
  for (let round = 0; round < 3; round += 1) {
    const body = Buffer.alloc(100_000, 'x')
    const sending = Array.from({ length: 10 }, () =>
      typesense.importDocuments('x', body, { lines: 1, action: 'upsert' }).catch(() => undefined),
    )
    await Promise.all([...sending, ...Array.from({ length: 20 }, async () => await typesense.listAliases())])
  }
  expect(stub.sockets).toMatchObject({ most: 4, all: 4 })
})

it('batches that were sent are let go of', async () => {
  const stub = await startStub(async (request, response) => {
    for await (const _chunk of request);
    response.writeHead(200, { 'content-type': 'text/plain' }).end('{"success":true}')
  })
  const typesense = await connect(stub.url)
  let made = 0
  let collected = 0
  const registry = new FinalizationRegistry(() => void (collected += 1))
  async function* batches() {
    for (; made < 60; made += 1) {
      const body = Buffer.from(new ArrayBuffer(2 * MiB))
      registry.register(body.buffer, undefined)
      yield { body, lines: 1 }
    }
  }
  const told = { onSent: () => undefined, onWaiting: () => undefined, onRefused: () => undefined }
  const { sent } = await importDocuments(typesense, 'x', batches(), { action: 'create', signal: abort.signal, ...told })
  expect(sent).toBe(60)
  // What is alive now is garbage that waits for its turn; were requests, sockets or signals to hold it, it would be all.
  const collect = collectGarbage()
  for (let turn = 0; turn < 100 && collected < 50; turn += 1) {
    collect()
    await pause(10)
  }
  expect(collected).toBeGreaterThanOrEqual(50)
  expect(stub.sockets.all).toBeLessThanOrEqual(4)
})

it('a connection that the server closes while it is idle is no failure of the next look', async () => {
  let answers = 0
  const stub = await startStub((request, response) => {
    answers += 1
    // The second request meets a connection that ends.
    if (answers === 2) return void request.socket.destroy()
    return sendJson(response, { aliases: [] })
  })
  const typesense = await connect(stub.url)
  await typesense.listAliases()
  await expect(typesense.listAliases()).resolves.toEqual(new Map())
  expect(answers).toBe(3)
})

describe('what is not believed', () => {
  it.each<[string, string, (response: ServerResponse) => unknown]>([
    ['a page in place of an answer', 'search-unreachable', (response) => html(response, 200)],
    ['a page of a gateway', 'search-unreachable', (response) => html(response, 502)],
    ['a page that says 404', 'search-unreachable', (response) => html(response, 404)],
    ['JSON of something else', 'search-failed', (response) => sendJson(response, { hello: 'world' })],
    ['JSON that is cut off', 'search-failed', (response) => response.writeHead(200, JSON_TYPE).end('{"aliases":[')],
    ['an answer that is cut off', 'search-unreachable', cutOff],
    ['a port where nobody answers', 'search-unreachable', (response) => response.socket?.destroy()],
  ])('%s is %s, and may be asked for again', async (_what, code, answer) => {
    const stub = await startStub((_request, response) => answer(response))
    const typesense = await connect(stub.url)
    const error = await typesense.listAliases().catch((raised: unknown) => raised)
    expect(error).toMatchObject({ code, retryable: true })
    expect(`${JSON.stringify(error)} ${String(error)}`).not.toMatch(/a-secret-key|127\.0\.0\.1/)
  })

  const html = (response: ServerResponse, status: number): unknown =>
    response.writeHead(status, { 'content-type': 'text/html' }).end('<html>Please log in</html>')
  function cutOff(response: ServerResponse): void {
    response.writeHead(200, { ...JSON_TYPE, 'content-length': 100 }).write('{"aliases":[', () => response.destroy())
  }

  it('an answer to an import that does not end is not read to its end', async () => {
    let sent = 0
    const stub = await startStub(async (request, response) => {
      await drained(request)
      response.writeHead(200, { 'content-type': 'text/plain' })
      const line = Buffer.alloc(64 * 1024, '{"success":true}\n')
      function* lines(): Generator<Buffer> {
        for (; sent < 100 * MiB; sent += line.length) yield line
      }
      await pipeline(lines, response).catch(() => undefined)
    })
    const typesense = await connect(stub.url)
    const sending = typesense.importDocuments('x', Buffer.from('{}\n'), { lines: 1, action: 'create' })
    await expect(sending).rejects.toMatchObject({ code: 'search-unreachable' })
    expect(sent).toBeLessThan(20 * MiB)
  })

  it('an export that is cut off ends with an error, and never as if it were whole', async () => {
    const stub = await startStub((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' })
      response.write('{"id":"1"}\n{"id":"2"}\n', () => setTimeout(() => response.destroy(), 10))
    })
    const typesense = await connect(stub.url)
    const lines = await typesense.exportDocuments('x')
    await expect(text(lines)).rejects.toMatchObject({ code: 'search-unreachable', retryable: true })
  })

  it('a server that does not tell its version is not used', async () => {
    const stub = await startStub(() => undefined)
    stub.url.pathname = '/x'
    const server = createServer((_request, response) => sendJson(response, { state: 1, version: 'nightly' }))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    stack.defer(() => void server.close())
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const url = new URL(`http://127.0.0.1:${address.port}`)
    await expect(connect(url)).rejects.toMatchObject({ code: 'search-failed', retryable: false })
  })
})

describe('an abort ends at once', () => {
  it.each<[string, (typesense: Typesense) => Promise<unknown>]>([
    ['a look', async (typesense) => await typesense.listAliases()],
    ['an import', async (typesense) => await typesense.importDocuments('x', Buffer.alloc(MiB, 'x'), ONE)],
    ['an export', async (typesense) => await text(await typesense.exportDocuments('x'))],
    ['what waits for a connection', async (typesense) => await waitBehind(typesense)],
  ])('%s', async (_what, call) => {
    const stub = await startStub((request, response) => {
      request.resume()
      if (request.url?.includes('export')) response.writeHead(200, { 'content-type': 'text/plain' }).write('{"id"')
    })
    const typesense = await connect(stub.url)
    const calling = call(typesense).catch((raised: unknown) => raised)
    await pause(40)
    const atMs = performance.now()
    abort.abort(new Error('canceled'))
    expect(await calling).toEqual(new Error('canceled'))
    expect(performance.now() - atMs).toBeLessThan(500)
    await expect(typesense.listAliases()).rejects.toThrow('canceled')
    await typesense[Symbol.asyncDispose]()
    await pause(20)
    expect(stub.sockets.open.size).toBe(0)
  })

  const ONE = { lines: 1, action: 'create' } as const
  async function waitBehind(typesense: Typesense): Promise<unknown> {
    const others = Array.from({ length: 4 }, async () => await typesense.listAliases().catch(() => undefined))
    const result = await typesense.queuedWrites().catch((raised: unknown) => raised)
    await Promise.all(others)
    throw result
  }
})

it('a consumer that reads an export slowly is waited for', async () => {
  const stub = await startStub((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/plain' }).end(Buffer.alloc(3 * MiB, '{"id":"1"}\n'))
  })
  const typesense = await connect(stub.url)
  let bytes = 0
  for await (const chunk of (await typesense.exportDocuments('x')) as AsyncIterable<Buffer>) {
    if (bytes === 0) await pause(100)
    bytes += chunk.length
  }
  expect(bytes).toBe(3 * MiB)
})

describe('names and ids', () => {
  const schema = { fields: [{ name: 'title', type: 'string' }] }
  const IDS = [
    '*',
    ' * ',
    '.',
    '..',
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
    const typesense = await connect(new URL(server.url))
    await typesense.createCollection({ name: 'c1', schema, metadata: { a: 1 } })
    await typesense.createCollection({ name: 'c2', schema, metadata: {} })
    await typesense.putAlias('live', 'c1')
    const body = Buffer.from(IDS.map((id) => `${JSON.stringify({ id, title: id })}\n`).join(''))
    expect(await typesense.importDocuments('c1', body, { lines: IDS.length, action: 'create' })).toEqual([])
    return { server, typesense }
  }

  it.each(IDS)('the document %j alone is read and deleted', async (id) => {
    const { server, typesense } = await open()
    expect(JSON.parse((await typesense.readDocument('c1', id)) ?? '')).toEqual({ id, title: id })
    expect(await typesense.deleteDocuments('c1', [id, 'not there', 'nor`this'])).toBe(1)
    expect(await typesense.readDocument('c1', id)).toBeUndefined()
    expect(server.documents('c1')).toHaveLength(IDS.length - 1)
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
})
