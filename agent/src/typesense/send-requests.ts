import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { pipeline, type Readable } from 'node:stream'
import { urlToHttpOptions } from 'node:url'
import { limitRequests } from './limit-requests.ts'
import { createGuard, createTimer, LimitError, readText } from './read-response.ts'
import { fromAnswer, fromNetworkError, isOurs, type Answer, type Doing } from './search-error.ts'

/*
 * The wire: one keep-alive agent for every request of this search server, no redirects, answers of bounded size.
 * A request is sent once; only a GET that met a connection which the server was just closing is sent again at once.
 */

/** More than the imports in flight, so that a look at the queue does not wait behind them. */
const MAX_SOCKETS = 4
/** Below the 5 s after which many servers and proxies close an idle connection: whoever closes first has no race. */
const KEEP_IDLE_MS = 4000
const LIMITS = {
  connectMs: 10_000,
  /** To send a body, and what it takes at 50 kB a second: on a slower line nothing gets done anyway. */
  sendMs: 60_000,
  slowestBytesPerMs: 50,
  /** From the last byte sent to the answer's head: a small write waits behind a big import of the same collection. */
  replyMs: 120_000,
  /** Between two pieces of an answer. */
  receiveMs: 60_000,
}
/** Errors, aliases, a document. */
const ANSWER_MAX_BYTES = 64 * 1024 * 1024
const REFUSAL_MAX_BYTES = 64 * 1024

interface Request extends Doing {
  method: string
  /** With its query, encoded. Never normalised: an id may be `..`. */
  path: string
  body?: { bytes: Buffer | string; contentType: string }
  /** For what takes longer than other requests. */
  replyMs?: number
  maxBytes?: number
  /** Ends this request alone. */
  signal?: AbortSignal | undefined
}

export interface Wire extends AsyncDisposable {
  /** The answer, when it is a success. Throws SyncError, of which AnswerError bears the status, or the signal's reason. */
  send(request: Request): Promise<Answer>
  /** The body of a success as it comes; it ends with a SyncError when the connection is cut. */
  stream(request: Request): Promise<Readable>
}

export interface WireOptions {
  url: URL
  apiKey: string
  signal: AbortSignal
  limits?: Partial<typeof LIMITS>
}

export function openWire(options: WireOptions): Wire {
  const limits = { ...LIMITS, ...options.limits }
  const isTls = options.url.protocol === 'https:'
  const pool = { keepAlive: true, maxSockets: MAX_SOCKETS, timeout: KEEP_IDLE_MS }
  const agent = isTls ? new https.Agent(pool) : new http.Agent(pool)
  const { protocol, hostname, port } = urlToHttpOptions(options.url)
  const prefix = options.url.pathname.replace(/\/+$/, '')
  const open = isTls ? https.request : http.request
  const takeTurn = limitRequests(MAX_SOCKETS)

  /** Sends one request and waits for the head of its answer. */
  async function begin(request: Request, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted()
    const { body } = request
    const headers: http.OutgoingHttpHeaders = {
      'x-typesense-api-key': options.apiKey,
      accept: 'application/json, text/plain',
      'user-agent': 'multiboard-sync-agent',
    }
    if (body) {
      headers['content-type'] = body.contentType
      headers['content-length'] = Buffer.byteLength(body.bytes)
    }
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const path = `${prefix}${request.path}`
    const outgoing = open({ protocol, hostname, port, agent, method: request.method, path, headers })
    const fail = (error: Error): void => {
      outgoing.destroy(error)
      // While the agent finds it a connection, its end is not told otherwise.
      reject(error)
    }
    const timer = createTimer((what) => fail(new LimitError(what)))
    const onAbort = (): void => fail(new Error('aborted'))
    signal.addEventListener('abort', onAbort, { once: true })
    const sendMs = limits.sendMs + Number(headers['content-length'] ?? 0) / limits.slowestBytesPerMs
    outgoing.once('socket', (socket) => {
      if (!socket.connecting) return timer.start(sendMs, 'SEND_TIMEOUT')
      timer.start(limits.connectMs, 'CONNECT_TIMEOUT')
      socket.once(isTls ? 'secureConnect' : 'connect', () => timer.start(sendMs, 'SEND_TIMEOUT'))
    })
    outgoing.once('finish', () => timer.start(request.replyMs ?? limits.replyMs, 'REPLY_TIMEOUT'))
    outgoing.once('response', resolve)
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const isStale = outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
      reject(isStale ? new StaleConnectionError(error) : error)
    })
    outgoing.end(body?.bytes)
    try {
      return await promise
    } finally {
      timer.stop()
      signal.removeEventListener('abort', onAbort)
    }
  }

  async function exchange<T>(
    request: Request,
    read: (response: IncomingMessage, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = request.signal ? AbortSignal.any([options.signal, request.signal]) : options.signal
    let endTurn = (): void => undefined
    try {
      endTurn = await takeTurn(signal)
      const response = await begin(request, signal).catch(async (error: unknown) => {
        if (!(error instanceof StaleConnectionError) || request.method !== 'GET') throw error
        return await begin(request, signal)
      })
      const onAbort = (): void => void response.destroy(new Error('aborted'))
      signal.addEventListener('abort', onAbort, { once: true })
      response.once('close', () => {
        signal.removeEventListener('abort', onAbort)
        endTurn()
      })
      if (signal.aborted) onAbort()
      const status = response.statusCode ?? 0
      const contentType = readType(response)
      if (status >= 200 && status < 300 && isOurs({ contentType })) return await read(response, signal)
      const text = await readText(response, { maxBytes: REFUSAL_MAX_BYTES, isCut: true, idleMs: limits.receiveMs })
      throw fromAnswer({ status, contentType, text }, request, options.url)
    } catch (error) {
      endTurn()
      signal.throwIfAborted()
      throw fromNetworkError(error, request.doing)
    }
  }

  return {
    send: async (request) =>
      await exchange(request, async (response) => ({
        status: response.statusCode ?? 0,
        contentType: readType(response),
        text: await readText(response, {
          maxBytes: request.maxBytes ?? ANSWER_MAX_BYTES,
          isCut: false,
          idleMs: limits.receiveMs,
        }),
      })),
    stream: async (request) =>
      await exchange(request, async (response, signal) => {
        const guard = createGuard(limits.receiveMs, (error) =>
          signal.aborted ? asError(signal.reason) : fromNetworkError(error, request.doing),
        )
        pipeline(response, guard, () => undefined)
        return guard
      }),
    async [Symbol.asyncDispose]() {
      agent.destroy()
    },
  }
}

class StaleConnectionError extends Error {
  readonly code = 'ECONNRESET'

  constructor(cause: Error) {
    super('The server closed an idle connection.', { cause })
  }
}

function readType(response: IncomingMessage): string {
  return response.headers['content-type']?.trim().toLowerCase() ?? ''
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted')
}
