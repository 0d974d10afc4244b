import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { copyOut, type CopyOut } from './copy-out.ts'

function message(type: string, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body)
  const head = Buffer.from(`${type}0000`)
  head.writeUInt32BE(bytes.length + 4, 1)
  return Buffer.concat([head, bytes])
}

/** As much of node-pg as a query sees: a socket that it alone listens to, and a parser that gets what is not taken. */
function clientOf(parsed: Buffer[]) {
  const socket = new PassThrough()
  let query: CopyOut & Record<string, (one: object) => void>
  socket.on('data', (bytes: Buffer) => {
    parsed.push(bytes)
    if (Buffer.concat(parsed).toString('latin1').endsWith('ready')) {
      query['handleCommandComplete']?.({ text: 'COPY 3' })
      query['handleReadyForQuery']?.({})
    }
  })
  const connection = { stream: socket, query: () => undefined }
  const client = {
    query: (one: typeof query & { submit: (to: object) => void }) => {
      query = one
      one.submit(connection)
    },
  }
  return { socket, client: client as unknown as pg.Client }
}

/** What the rows are at the end of the time for which each chunk is good. */
async function collect(copy: CopyOut, holdTicks: (n: number) => number = () => 0): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of copy) {
    for (let tick = holdTicks(chunks.length); tick > 0; tick -= 1) await new Promise((resolve) => setImmediate(resolve))
    chunks.push(Buffer.from(chunk))
  }
  return Buffer.concat(chunks)
}

test('The rows come out whole and in order, in whatever pieces the messages arrive, and what follows is left to node-pg', async () => {
  const row = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new Uint8Array(200_000).fill(120)))
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 12 }), fc.array(fc.nat({ max: 60 })), async (bodies, cuts) => {
      const rows = bodies.map((bytes) => Buffer.from(bytes))
      const between = [message('H', 'columns'), message('N', 'a notice'), message('S', 'a parameter')]
      let stream = Buffer.concat([
        ...between,
        ...rows.flatMap((bytes, n) => [message('d', bytes), ...(n % 5 === 4 ? between : [])]),
        message('c', ''),
        Buffer.from('ready'),
      ])
      const parsed: Buffer[] = []
      const { socket, client } = clientOf(parsed)
      const copy = copyOut(client, 'copy t to stdout')
      const all = collect(copy)
      for (const cut of [...cuts, stream.length]) {
        socket.write(stream.subarray(0, cut))
        stream = stream.subarray(cut)
      }
      expect((await all).equals(Buffer.concat(rows))).toBe(true)
      expect(copy.rowCount).toBe(3)
      expect(Buffer.concat(parsed).toString()).toBe('ready')
    }),
    { numRuns: 60 },
  )
})

test('A chunk stays as it is for as long as it is held, and the server waits meanwhile', async () => {
  const READ = 64 * 1024
  const rows = Array.from({ length: 3000 }, (_, n) => Buffer.alloc(1 + ((n * 7919) % 2000), String(n % 10)))
  const stream = Buffer.concat([...rows.map((bytes) => message('d', bytes)), message('c', ''), Buffer.from('ready')])
  const { socket, client } = clientOf([])
  const copy = copyOut(client, 'copy t to stdout')
  let most = 0
  const all = collect(copy, (n) => {
    most = Math.max(most, socket.readableLength + socket.writableLength)
    return (n * 13) % 7
  })
  for (let at = 0; at < stream.length; at += READ) {
    const piece = Buffer.from(stream.subarray(at, at + READ))
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
    // As a socket does that reads into the same memory again.
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect((await all).equals(Buffer.concat(rows))).toBe(true)
  // It was paused, so that something had to wait before it.
  expect(most).toBeGreaterThan(0)
})

test("An error in place of rows is left to node-pg's parser whole, and ends the rows", async () => {
  const parsed: Buffer[] = []
  const { socket, client } = clientOf(parsed)
  const copy = copyOut(client, 'copy t to stdout')
  const error = message('E', 'SERROR\0C57P01\0\0')
  socket.write(Buffer.concat([message('H', ''), message('d', 'a row\n'), error.subarray(0, 3)]))
  socket.write(error.subarray(3))
  await new Promise((resolve) => setImmediate(resolve))
  expect(Buffer.concat(parsed).equals(error)).toBe(true)
  Reflect.get(copy, 'handleError')(new Error('ended'))
  await expect(collect(copy)).rejects.toThrow('ended')
})

test('Who waits for rows of a copy that is stopped gets the reason', async () => {
  const { client } = clientOf([])
  const copy = copyOut(client, 'copy t to stdout')
  const all = collect(copy)
  await new Promise((resolve) => setImmediate(resolve))
  const reason = new Error('enough')
  copy.destroy(reason)
  await expect(all).rejects.toBe(reason)
})
