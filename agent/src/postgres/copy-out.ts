import { Readable, type Duplex } from 'node:stream'
import type pg from 'pg'

/*
 * COPY … TO STDOUT as a stream of rows.
 *
 * The server sends each row as a message of its own, in writes of 8 KiB: what is made of each costs the one thread that all
 * copies share. So rows are put together into large chunks, with one copy of their bytes and nothing allocated for a row.
 * The bytes are taken from the socket in place of node-pg's parser, which gets what follows the last row (PostgreSQL docs,
 * "Message Formats"). Ends only when the server has said how many rows it sent, and is ready for the next query.
 */

/** Large enough that compressing and sending a chunk outweighs handing it over. */
const CHUNK_BYTES = 128 * 1024

const COPY_DATA = 0x64
const COPY_DONE = 0x63
/** CopyOutResponse, and what may come in between: NoticeResponse, ParameterStatus, NotificationResponse. */
const PASSED_OVER: ReadonlySet<number> = new Set([0x48, 0x4e, 0x53, 0x41])
/** One byte of type, four of length, which count themselves. */
const HEAD_BYTES = 5

export interface CopyOut extends Readable {
  /** As the server counted; 0 before the end. */
  readonly rowCount: number
}

/** A query of its client's queue. When it is destroyed before its end, the connection is of no further use and must be cut. */
export function copyOut(client: pg.Client, sql: string): CopyOut {
  let socket: Duplex | undefined
  let parse: ((bytes: Buffer) => void) | undefined
  let rowCount = 0
  let chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  let filled = 0
  const head = Buffer.alloc(HEAD_BYTES)
  let headFilled = 0
  let bodyLeft = 0
  let isRow = false

  function give(bytes: Buffer): void {
    if (!rows.push(bytes)) socket?.pause()
  }

  function flush(): void {
    if (filled === 0) return
    give(chunk.subarray(0, filled))
    chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    filled = 0
  }

  function keep(bytes: Buffer, from: number, to: number): void {
    if (filled + to - from > CHUNK_BYTES) flush()
    if (to - from > CHUNK_BYTES) return give(bytes.subarray(from, to))
    bytes.copy(chunk, filled, from, to)
    filled += to - from
  }

  function take(bytes: Buffer): void {
    if (rows.destroyed) return
    let at = 0
    while (at < bytes.length) {
      if (bodyLeft > 0) {
        const end = Math.min(bytes.length, at + bodyLeft)
        if (isRow) keep(bytes, at, end)
        bodyLeft -= end - at
        at = end
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
      if (headFilled < HEAD_BYTES) return
      headFilled = 0
      const type = head[0] ?? 0
      isRow = type === COPY_DATA
      if (isRow || PASSED_OVER.has(type)) bodyLeft = head.readUInt32BE(1) - 4
      else return end(type === COPY_DONE ? bytes.subarray(at) : Buffer.concat([head, bytes.subarray(at)]))
    }
  }

  /** What follows the rows, or an error in their place, is node-pg's again. */
  function end(rest: Buffer): void {
    flush()
    if (!socket || !parse) return
    socket.removeListener('data', take)
    socket.on('data', parse)
    socket.resume()
    socket = undefined
    if (rest.length > 0) parse(rest)
  }

  const rows = new Readable({
    highWaterMark: 2 * CHUNK_BYTES,
    read: () => void socket?.resume(),
  })
  const query = Object.assign(rows, {
    submit(connection: pg.Connection): void {
      const { stream } = connection
      const [parser, ...others] = stream.listeners('data') as ((bytes: Buffer) => void)[]
      if (!parser || others.length > 0) throw new Error('node-pg alone listens to its socket')
      socket = stream
      parse = parser
      stream.removeListener('data', parser)
      stream.on('data', take)
      connection.query(sql)
    },
    handleCommandComplete(message: { text?: string }): void {
      rowCount = Number(/^COPY (\d+)/.exec(message.text ?? '')?.[1] ?? 0)
    },
    handleReadyForQuery(): void {
      rows.push(null)
    },
    handleError(error: Error): void {
      rows.destroy(error)
    },
  })
  Object.defineProperty(query, 'rowCount', { get: () => rowCount })
  client.query(query)
  return query as typeof query & CopyOut
}
