import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { copyOut } from './copy-out.ts'
import { openSocket } from './open-socket.ts'

function message(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body)
  const head = Buffer.from(`${type}0000`)
  head.writeUInt32BE(bytes.length + 4, 1)
  return Buffer.concat([head, bytes])
}

/** A socket of ours and its other end. */
async function openPair() {
  const server = createServer((peer) => peer.setNoDelay(true))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const socket = openSocket()
  socket.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [peer] = await accepted
  return {
    socket,
    peer,
    [Symbol.dispose]: () => {
      socket.destroy()
      peer.destroy()
      server.close()
    },
  }
}

const ANSWER = Buffer.concat([
  message('H', '\0\0\0'),
  message('d', 'first row\n'),
  message('N', 'a notice'),
  message('d', 'row two\n'),
  message('c', ''),
  message('C', 'COPY 2\0'),
  message('Z', 'I'),
])
const AFTER = ANSWER.subarray(ANSWER.lastIndexOf('C\0\0\0'))

test('Rows, and what is left to node-pg, stay as they came when the socket reads on into the same memory', async () => {
  using pair = await openPair()
  const { socket, peer } = pair
  /** What the parser was given, as it keeps what is not whole yet: without a copy. */
  const parsed: Buffer[] = []
  socket.on('data', (bytes: Buffer) => parsed.push(bytes))
  for (let cut = 1; cut < ANSWER.length; cut += 1) {
    parsed.length = 0
    let query: Record<string, (one: object) => void> = {}
    const client = {
      query: (one: typeof query & { submit: (to: object) => void }) => {
        query = one
        one.submit({ stream: socket, query: () => undefined })
      },
    }
    const copy = copyOut(client as unknown as pg.Client, 'copy t to stdout')
    const rows = Array.fromAsync(copy, (chunk) => chunk.toString())
    const seen = socket.bytesRead
    peer.write(ANSWER.subarray(0, cut))
    while (socket.bytesRead < seen + cut) await new Promise((resolve) => setImmediate(resolve))
    peer.write(ANSWER.subarray(cut))
    while (Buffer.concat(parsed).length < AFTER.length) await new Promise((resolve) => setImmediate(resolve))
    // Of other reads into the same memory.
    peer.write(Buffer.alloc(500, '?'))
    while (Buffer.concat(parsed).length < AFTER.length + 500) await new Promise((resolve) => setImmediate(resolve))
    expect(Buffer.concat(parsed).subarray(0, AFTER.length).equals(AFTER), `cut at ${cut}`).toBe(true)
    query['handleReadyForQuery']?.({})
    expect((await rows).join('')).toBe('first row\nrow two\n')
  }
})
