import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { importDocuments } from '../src/reindex/import-documents.ts'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import { openWire, type WireOptions } from '../src/typesense/send-requests.ts'
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
    expect(performance.now() - atMs).toBeLessThan(2000)
    await expect(typesense.listAliases()).rejects.toThrow('canceled')
    await typesense[Symbol.asyncDispose]()
    await vi.waitFor(() => expect(stub.sockets.open.size, 'open connections').toBe(0), 5000)
  })

  const ONE = { lines: 1, action: 'create' } as const
  async function waitBehind(typesense: Typesense): Promise<unknown> {
    const others = Array.from({ length: 4 }, async () => await typesense.listAliases().catch(() => undefined))
    const result = await typesense.queuedWrites().catch((raised: unknown) => raised)
    await Promise.all(others)
    throw result
  }
})

describe('what does not come in time', () => {
  const SOON = { replyMs: 100, receiveMs: 100 }
  const open = (stub: Stub, limits: WireOptions['limits'] = SOON) => {
    const wire = stack.use(openWire({ url: stub.url, apiKey: KEY, signal: abort.signal, limits }))
    const ask = { method: 'GET', path: '/x', doing: 'asking' }
    return { wire, ask }
  }
  const late = (code: string) => ({
    code: 'search-unreachable',
    retryable: true,
    message: `The search server cannot be reached (${code}, asking).`,
  })

  it('no answer', async () => {
    const { wire, ask } = open(await startStub(() => undefined))
    await expect(wire.send(ask)).rejects.toMatchObject(late('REPLY_TIMEOUT'))
  })

  it('an answer that is waited for longer, where it is asked for', async () => {
    const { wire, ask } = open(await startStub((_request, response) => setTimeout(() => sendJson(response, {}), 200)))
    await expect(wire.send({ ...ask, replyMs: 5000 })).resolves.toMatchObject({ text: '{}' })
  })

  it('an answer that stops in the middle', async () => {
    const { wire, ask } = open(await startStub((_request, response) => response.writeHead(200).write('{')))
    await expect(wire.send(ask)).rejects.toMatchObject(late('RECEIVE_TIMEOUT'))
    await expect(text(await wire.stream(ask))).rejects.toMatchObject(late('RECEIVE_TIMEOUT'))
  })

  it('a refusal that stops in the middle', async () => {
    const { wire, ask } = open(await startStub((_request, response) => response.writeHead(400, JSON_TYPE).write('{')))
    await expect(wire.send(ask)).rejects.toMatchObject(late('RECEIVE_TIMEOUT'))
  })

  it('a body that is not taken', async () => {
    const stub = await startStub((request) => void request.pause())
    const { wire, ask } = open(stub, { sendMs: 100, slowestBytesPerMs: 1e9 })
    const body = { bytes: Buffer.alloc(32 * MiB), contentType: 'text/plain' }
    await expect(wire.send({ ...ask, method: 'POST', body })).rejects.toMatchObject(late('SEND_TIMEOUT'))
  })

  it('but a reader who takes his time', async () => {
    const lines = Buffer.alloc(4 * MiB, '{"id":"1"}\n')
    const stub = await startStub((_request, response) => response.writeHead(200).end(lines))
    const { wire, ask } = open(stub, { receiveMs: 250 })
    let bytes = 0
    for await (const chunk of (await wire.stream(ask)) as AsyncIterable<Buffer>) {
      if (bytes === 0) await pause(600)
      bytes += chunk.length
    }
    expect(bytes).toBe(lines.length)
    const piped = await wire.stream(ask)
    await pause(600)
    expect((await text(piped)).length).toBe(lines.length)
  })
})
