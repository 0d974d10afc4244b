import type { Duplex } from 'node:stream'
import type pg from 'pg'
import { borrow, own } from './open-socket.ts'

/*
 * COPY … TO STDOUT as chunks of rows.
 *
 * The server sends each row as a message of its own, in writes of 8 KiB: what is made of each costs the one thread that all
 * copies share. So rows are put together into large chunks, with one copy of their bytes and nothing allocated for a row.
 * The bytes are taken from the socket in place of node-pg's parser, which gets what follows the last row (PostgreSQL docs,
 * "Message Formats"). Ends only when the server has said how many rows it sent, and is ready for the next query.
 *
 * There are two buffers: while one is out, the other is filled, and when both are full the server has to wait.
 *
 *     empty ──bytes──▶ filling ──128 KiB──▶ ready ──next()──▶ out ──next()──▶ empty
 */

/** A chunk is given out from here on: packing and sending it outweigh handing it over. With what one read brings it is twice that. */
const FULL_BYTES = 128 * 1024
/** Most tables are small. A buffer that is too small for what comes is made anew, at least twice as large. */
const FIRST_BYTES = 16 * 1024
const BUFFERS = 2

const COPY_DATA = 0x64
const COPY_DONE = 0x63
/** CopyOutResponse, and what may come in between: NoticeResponse, ParameterStatus, NotificationResponse. */
const PASSED_OVER: ReadonlySet<number> = new Set([0x48, 0x4e, 0x53, 0x41])
/** One byte of type, four of length, which count themselves. */
const HEAD_BYTES = 5

/** To be iterated once. A chunk is good until the next one is asked for; then its memory is written again. */
export interface CopyOut extends AsyncIterable<Buffer> {
  /** As the server counted; 0 before the end. */
  readonly rowCount: number
  /** Ends it with this error. Before its end the connection is then of no further use and must be cut. */
  destroy(error?: Error): void
}

/** A query of its client's queue. Throws the client's errors as they are. */
export function copyOut(client: pg.Client, sql: string): CopyOut {
  let socket: Duplex | undefined
  let parse: ((bytes: Buffer) => void) | undefined
  let rowCount = 0
  const empty: Buffer[] = Array.from({ length: BUFFERS }, () => Buffer.alloc(0))
  const ready: { memory: Buffer; bytes: number }[] = []
  let filling: Buffer | undefined
  let filled = 0
  const head = Buffer.alloc(HEAD_BYTES)
  let headFilled = 0
  let bodyLeft = 0
  let isRow = false
  let end: { error?: Error } | undefined
  let wake: (() => void) | undefined

  /** Memory for so many bytes more; what is there already is kept. */
  function room(bytes: number): Buffer {
    // A stream may bring something after it was told to pause.
    const memory = filling ?? empty.pop() ?? Buffer.alloc(0)
    const needed = filled + bytes
    filling = memory.length >= needed ? memory : Buffer.allocUnsafeSlow(roomy(needed, memory.length))
    if (filling !== memory) memory.copy(filling, 0, 0, filled)
    return filling
  }

  function handOver(): void {
    if (!filling || filled === 0) return
    ready.push({ memory: filling, bytes: filled })
    ;[filling, filled] = [undefined, 0]
    wake?.()
  }

  function take(bytes: Buffer): void {
    if (end) return
    const memory = room(bytes.length)
    let at = 0
    while (at < bytes.length) {
      if (bodyLeft > 0) {
        const to = Math.min(bytes.length, at + bodyLeft)
        if (isRow) filled += bytes.copy(memory, filled, at, to)
        bodyLeft -= to - at
        at = to
        continue
      }
      if (headFilled === 0 && bytes.length - at >= HEAD_BYTES && bytes[at] === COPY_DATA) {
        bodyLeft = bytes.readUInt32BE(at + 1) - 4
        isRow = true
        at += HEAD_BYTES
        continue
      }
      const missing = Math.min(HEAD_BYTES - headFilled, bytes.length - at)
      bytes.copy(head, headFilled, at, at + missing)
      headFilled += missing
      at += missing
      if (headFilled < HEAD_BYTES) break
      headFilled = 0
      const type = head[0] ?? 0
      isRow = type === COPY_DATA
      if (isRow || PASSED_OVER.has(type)) bodyLeft = head.readUInt32BE(1) - 4
      else return leave(type === COPY_DONE ? [bytes.subarray(at)] : [head, bytes.subarray(at)])
    }
    if (filled < FULL_BYTES) return
    handOver()
    if (empty.length === 0) socket?.pause()
  }

  /** What follows the rows, or an error in their place, is node-pg's again. */
  function leave(rest: Buffer[]): void {
    handOver()
    if (!socket || !parse) return
    socket.removeListener('data', take)
    own(socket)
    socket.on('data', parse)
    socket = undefined
    const bytes = Buffer.concat(rest)
    if (bytes.length > 0) parse(bytes)
  }

  function stop(error?: Error): void {
    end ??= error ? { error } : {}
    wake?.()
  }

  const copy = {
    submit(connection: pg.Connection): void {
      const { stream } = connection
      const [parser, ...others] = stream.listeners('data') as ((bytes: Buffer) => void)[]
      if (!parser || others.length > 0) throw new Error('node-pg alone listens to its socket')
      socket = stream
      parse = parser
      stream.removeListener('data', parser)
      borrow(stream)
      stream.on('data', take)
      connection.query(sql)
    },
    handleCommandComplete(message: { text?: string }): void {
      rowCount = Number(/^COPY (\d+)/.exec(message.text ?? '')?.[1] ?? 0)
    },
    handleReadyForQuery: () => stop(),
    handleError: (error: Error) => stop(error),
    get rowCount(): number {
      return rowCount
    },
    destroy: (error: Error = new Error('The copy was stopped.')) => stop(error),
    async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
      try {
        for (;;) {
          if (end?.error) throw end.error
          const chunk = ready.shift()
          if (chunk) {
            yield chunk.memory.subarray(0, chunk.bytes)
            empty.push(chunk.memory)
            socket?.resume()
          } else if (end) return
          else await new Promise<void>((resolve) => (wake = resolve))
        }
      } finally {
        copy.destroy()
      }
    },
  }
  client.query(copy)
  return copy
}

/** A size for what needs so many bytes: twice what was there, but no more than a chunk with what one read brings. */
function roomy(needed: number, before: number): number {
  return Math.max(needed, Math.min(2 * FULL_BYTES, Math.max(FIRST_BYTES, 2 * before)))
}
