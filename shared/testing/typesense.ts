import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { wholeBody, type Answer } from './typesense/answer.ts'
import type { Faults } from './typesense/faults.ts'
import { openFake, type FakeOptions } from './typesense/open-fake.ts'
import { LONGEST_URL_BYTES, serve, type LoggedRequest } from './typesense/serve.ts'

/*
 * A search server for development and tests that answers as Typesense does, on Node alone, in this process, on loopback
 * only: versions 30 and 29.
 *
 * It promises: what was recorded of a real server is answered alike, status and body, traps included: a 200 with refused
 * lines, an int32 that wraps in the index, an alias whose DELETE takes the collection behind it, a server that is healthy
 * and not caught up. A body that breaks off is not applied; one that came whole is, whether or not its client waits.
 * It never ranks, tolerates typos, keeps anything on disk, or refuses for want of memory on its own.
 * It is ours and so proves nothing alone: the same tests are to run against a real server as well.
 */

// A client's idle connection outlives the pauses between its requests.
const KEEP_ALIVE_MS = 60_000
/** So that what is too long is refused by us, and not by Node. */
const HEADER_BYTES = LONGEST_URL_BYTES * 4

export interface FakeTypesense extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  url: string
  apiKey: string
  faults: Faults
  /** Every request so far, without bodies; empty it to look at what comes next. */
  requests: LoggedRequest[]
  /** Real names, in the order in which they were made. */
  collections(): string[]
  /** Alias to real name. */
  aliases(): Map<string, string>
  /** The documents of a collection by its real name, as text, in the order of insertion. Throws when there is none. */
  documents(collection: string): string[]
  metadata(collection: string): Record<string, unknown> | undefined
  /** What /metrics.json tells, to be changed at will. */
  capacity: { memoryTotalBytes: number; memoryUsedBytes: number; diskTotalBytes: number; diskUsedBytes: number }
  /** Ends all connections, and forgets everything. */
  close(): Promise<void>
}

export interface TypesenseOptions extends FakeOptions {
  /** Default: a free one. */
  port?: number
}

/** Starts the server. Rejects with Node's error when the port is taken. */
export async function startTypesense(options: TypesenseOptions = {}): Promise<FakeTypesense> {
  const fake = openFake(options)
  const running = new Set<Promise<void>>()
  const handle = (message: IncomingMessage, response: ServerResponse) => {
    const request = answerHttp(message, response).finally(() => running.delete(request))
    running.add(request)
  }
  const answerHttp = async (message: IncomingMessage, response: ServerResponse) => {
    try {
      const outcome = await serve(fake.serving, {
        method: message.method ?? 'GET',
        url: message.url ?? '/',
        apiKey: headerOf(message, 'x-typesense-api-key'),
        readBody: async (afterBytes) => await readBody(message, afterBytes),
      })
      if (outcome.cut) return void message.socket.resetAndDestroy()
      await send(response, outcome.answer, outcome.endsAfterBytes)
    } catch (error) {
      // The client went away, which is its right; anything else is a mistake of ours, which a test should see.
      if (message.destroyed || response.destroyed || message.socket.destroyed) return
      response.writeHead(500, { 'content-type': 'text/plain' }).end(String(error))
    }
  }
  // No time limit for a request: a slow import is legitimate.
  const server = createServer(
    { requestTimeout: 0, keepAliveTimeout: KEEP_ALIVE_MS, maxHeaderSize: HEADER_BYTES },
    handle,
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The search server listens on no port.')

  let closing: Promise<void> | undefined
  const stop = async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    fake.faults.clear()
    server.closeAllConnections()
    await closed
    await Promise.all(running)
  }
  const close = async () => await (closing ??= stop())
  const { serving: _serving, ...shown } = fake
  return { ...shown, url: `http://127.0.0.1:${address.port}`, close, [Symbol.asyncDispose]: close }
}

function headerOf(message: IncomingMessage, name: string): string | undefined {
  const value = message.headers[name]
  return Array.isArray(value) ? value[0] : value
}

async function readBody(message: IncomingMessage, afterBytes = Infinity): Promise<Buffer> {
  const chunks: Buffer[] = []
  let read = 0
  for await (const chunk of message as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    read += chunk.length
    if (read >= afterBytes) message.socket.resetAndDestroy()
  }
  if (afterBytes !== Infinity) message.socket.resetAndDestroy()
  if (!message.complete || message.socket.destroyed) throw new Error('The request broke off.')
  return Buffer.concat(chunks)
}

async function send(response: ServerResponse, answer: Answer, endsAfterBytes?: number): Promise<void> {
  const { status, contentType, body } = answer
  if (endsAfterBytes !== undefined) {
    response.writeHead(status, { 'content-type': contentType })
    response.write(wholeBody(answer).subarray(0, endsAfterBytes), () => response.socket?.resetAndDestroy())
    return
  }
  if (typeof body === 'string' || Buffer.isBuffer(body)) {
    const whole = wholeBody(answer)
    response.writeHead(status, { 'content-type': contentType, 'content-length': whole.length }).end(whole)
    return
  }
  response.writeHead(status, { 'content-type': contentType })
  await pipeline(Readable.from(body), response)
}
