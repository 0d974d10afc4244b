import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads'
import { pgDump } from '@electric-sql/pglite-tools/pg_dump'
import type { DumpAnswer, DumpInput, ToWorker } from './dump-messages.ts'
import { FrameReader, parseServerError, type ServerErrorFields } from './protocol-frames.ts'

/*
 * The inside of the worker thread: pg_dump as WebAssembly, whose libpq writes and reads through two callbacks that must
 * answer before they return. We give it a handshake that never was, pass its messages to the main thread, which owns the
 * socket, and sleep until the whole response is there. Knows no URL and no password.
 */

const { port, wake, parameters, args } = workerData as DumpInput
const TERMINATE = 0x58
/** Query, Sync, FunctionCall: the messages after which a server says ReadyForQuery. */
const answered = new Set([0x51, 0x53, 0x46])
/**
 * pgDump() deletes every line of its output that begins like psql's \restrict, also when it is a line of a function's body
 * or a comment. JavaScript's `^` in its expression also stands after these other line ends.
 */
const restrictLine = /[\n\r\u2028\u2029]\\+(?:un)?restrict\b/i

let started = false
let restricted = false
let failure: ServerErrorFields | undefined
const fromDump = new FrameReader()
const fromServer = new FrameReader()

interface RawAnswer {
  onRawData: (bytes: Uint8Array) => void
}

const pg = {
  query: async () => await Promise.resolve({ rows: [{ search_path: '' }] }),
  exec: async () => await Promise.resolve(),
  execProtocolRawStream(bytes: Uint8Array, { onRawData }: RawAnswer) {
    if (!started) {
      started = true
      onRawData(handshake())
      return
    }
    // A message above libpq's buffer of 8 kB arrives in pieces; only its last piece is answered.
    const messages = fromDump.push(Buffer.from(bytes))
    const toSend = messages.filter((message) => message[0] !== TERMINATE)
    if (toSend.length > 0) port.postMessage(Buffer.concat(toSend))
    for (const message of toSend) if (answered.has(message[0] ?? 0)) onRawData(response())
  },
}

/** AuthenticationOk, the parameters that the real server announced, a key that nobody uses, ReadyForQuery. */
function handshake(): Buffer {
  const pairs = Object.entries(parameters).map(([name, value]) => message('S', Buffer.from(`${name}\0${value}\0`)))
  return Buffer.concat([
    message('R', Buffer.alloc(4)),
    ...pairs,
    message('K', Buffer.alloc(8)),
    message('Z', Buffer.from('I')),
  ])
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.from(`${type}\0\0\0\0`, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/** Blocks the thread until ReadyForQuery. */
function response(): Buffer {
  const messages: Buffer[] = []
  for (;;) {
    const seen = Atomics.load(wake, 0)
    const received = receiveMessageOnPort(port) as { message: ToWorker } | undefined
    if (received === undefined) {
      Atomics.wait(wake, 0, seen)
      continue
    }
    if ('lost' in received.message) throw new Error('connection lost')
    for (const frame of fromServer.push(Buffer.from(received.message.data))) {
      messages.push(frame)
      if (frame[0] === 0x45) failure = parseServerError(frame)
      if (frame[0] === 0x5a) return whole(messages)
    }
  }
}

function whole(messages: Buffer[]): Buffer {
  const bytes = Buffer.concat(messages)
  restricted ||= bytes.includes('restrict') && restrictLine.test(bytes.toString('utf8'))
  return bytes
}

async function dump(): Promise<DumpAnswer> {
  try {
    const file = await pgDump({ pg, args })
    const sql = await file.text()
    return restricted ? { kind: 'restricted' } : { kind: 'dumped', sql }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    return { kind: 'failed', text, server: failure }
  }
}

function mainThread(): MessagePort {
  if (parentPort === null) throw new Error('dump-worker.ts runs in a worker thread only')
  return parentPort
}

mainThread().postMessage(await dump())
