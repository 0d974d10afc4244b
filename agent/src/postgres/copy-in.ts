import { Writable, type Duplex } from 'node:stream'
import type pg from 'pg'

/*
 * COPY … FROM STDIN as a stream to write rows into.
 *
 *     written ──▶ the server asks for rows ──▶ chunk by chunk ──end()──▶ it has counted and is ready for the next query: 'finish'
 *                                                   └──destroy()──▶ it is told that the rows will not come, and has failed: 'close'
 *
 * Promises: when a chunk's write has called back, its memory is the writer's again; 'finish' comes only when the rows are
 * in; after 'close' the connection takes further queries, if it lives. An error of the server is the stream's own error.
 */

const COPY_DATA = 0x64
const COPY_DONE = Buffer.from([0x63, 0, 0, 0, 4])
/** One byte of type, four of length, which count themselves. */
const HEAD_BYTES = 5

export interface CopyIn extends Writable {
  /** As the server counted; 0 before the end. */
  readonly rowCount: number
}

/** A query of its client's queue. */
export function copyIn(client: pg.Client, sql: string): CopyIn {
  let connection: (pg.Connection & { sendCopyFail?: (why: string) => void }) | undefined
  let rowCount = 0
  /** What is done as soon as the server asks for rows. There is one thing at most: a stream writes one chunk at a time. */
  let waiting: ((socket: Duplex) => void) | undefined
  let isAsked = false
  /** The server has had its last word. */
  let isOver = false
  let finish: (() => void) | undefined
  let closed: (() => void) | undefined

  function whenAsked(work: (socket: Duplex) => void): void {
    if (isAsked && connection) work(connection.stream)
    else waiting = work
  }

  const stream = new Writable({
    // Never keeps a chunk that it does not yet send.
    highWaterMark: 1,
    write(chunk: Buffer, _encoding, callback) {
      whenAsked((socket) => {
        const head = Buffer.allocUnsafe(HEAD_BYTES)
        head[0] = COPY_DATA
        head.writeUInt32BE(chunk.length + 4, 1)
        socket.cork()
        socket.write(head)
        socket.write(chunk, (error) => {
          // Of a connection that breaks node-pg tells handleError().
          if (!error) callback()
        })
        socket.uncork()
      })
    },
    final(callback) {
      finish = callback
      whenAsked((socket) => socket.write(COPY_DONE))
    },
    destroy(error, callback) {
      if (isOver) return callback(error)
      closed = () => callback(error)
      whenAsked(() => connection?.sendCopyFail?.('The rows did not come to their end.'))
    },
  })
  const query = Object.assign(stream, {
    submit(to: pg.Connection): void {
      connection = to
      to.query(sql)
    },
    handleCopyInResponse(): void {
      isAsked = true
      if (connection) waiting?.(connection.stream)
      waiting = undefined
    },
    handleCommandComplete(message: { text?: string }): void {
      rowCount = Number(/^COPY (\d+)/.exec(message.text ?? '')?.[1] ?? 0)
    },
    handleReadyForQuery(): void {
      isOver = true
      finish?.()
      closed?.()
    },
    handleError(error: Error): void {
      isOver = true
      if (closed) closed()
      else stream.destroy(error)
    },
  })
  Object.defineProperty(query, 'rowCount', { get: () => rowCount })
  client.query(query)
  return query as typeof query & CopyIn
}
