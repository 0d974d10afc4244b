import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/*
 * A socket that reads into one buffer of its own, always the same.
 *
 * Node.js reads each piece into new memory, which V8 counts: for the rows of a COPY that is a full garbage collection
 * every dozen megabytes, half of what carrying them costs. Here a listener to 'data' that has said borrow() sees the
 * socket's own buffer, which is only good until it returns. All others see a stream like any, which keeps what nobody
 * takes yet. Over TLS the memory is Node's.
 */

/** PostgreSQL sends 8 KiB at a time; on a busy machine many of them wait. */
const READ_BYTES = 128 * 1024

const borrowed = new WeakSet<Duplex>()

/** For node-pg, which asks for a stream as it connects. It puts TLS around one that has to be read by Node.js itself. */
export function openSocket(connection?: { ssl?: unknown }): Socket {
  if (connection?.ssl) return new Socket()
  const memory = Buffer.allocUnsafeSlow(READ_BYTES)
  const socket: Socket = new Socket({
    onread: {
      buffer: memory,
      callback(length) {
        const bytes = memory.subarray(0, length)
        // What still lies in the stream comes first.
        if (!borrowed.has(socket) || socket.readableLength > 0) return socket.push(Buffer.from(bytes))
        socket.emit('data', bytes)
        return true
      },
    },
  })
  return socket
}

/** From now on the bytes that a listener to 'data' gets are good only until it returns. */
export function borrow(socket: Duplex): void {
  borrowed.add(socket)
}

/** From now on they are the listener's own. */
export function own(socket: Duplex): void {
  borrowed.delete(socket)
}
