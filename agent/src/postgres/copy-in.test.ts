import { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { copyIn, type CopyIn } from './copy-in.ts'

/** As much of node-pg as a query sees. The socket takes a chunk when `takeOne` is called, and looks at its bytes only then. */
function serverOf() {
  const taken: Buffer[] = []
  const failed: string[] = []
  let waiting: { chunks: Buffer[]; done: () => void } | undefined
  const socket = new Writable({
    highWaterMark: 1,
    write: (chunk: Buffer, _encoding, done) => void (waiting = { chunks: [chunk], done }),
    writev: (some, done) => void (waiting = { chunks: some.map(({ chunk }) => chunk as Buffer), done }),
  })
  const connection = { stream: socket, query: () => undefined, sendCopyFail: (why: string) => failed.push(why) }
  let query: CopyIn & Record<string, (one: object) => void>
  const client = {
    query: (one: typeof query & { submit: (to: object) => void }) => {
      query = one
      one.submit(connection)
    },
  }
  const says = (handler: string, what: object = {}): void => query[handler]?.(what)
  const takeOne = async (): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve))
    const { chunks, done } = waiting ?? { chunks: [], done: () => undefined }
    waiting = undefined
    taken.push(...chunks.map((chunk) => Buffer.from(chunk)))
    done()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { client: client as unknown as pg.Client, taken, failed, says, takeOne }
}

test('A chunk is called back when the socket has taken it, and sent as it was when it was written', async () => {
  const { client, taken, says, takeOne } = serverOf()
  const copy = copyIn(client, 'copy t from stdin')
  const memory = Buffer.alloc(100_000)
  const write = async (text: string): Promise<void> => {
    memory.fill(text)
    await new Promise<void>((resolve, reject) =>
      copy.write(memory, (error) => {
        // What its owner does with it at once.
        memory.fill('?')
        if (error) reject(error)
        else resolve()
      }),
    )
  }
  let written = 0
  const all = (async () => {
    for (const text of ['a', 'b', 'c']) {
      await write(text)
      written += 1
    }
    copy.end()
    await finished(copy)
  })()
  await takeOne()
  expect([written, taken.length]).toEqual([0, 0])
  says('handleCopyInResponse')
  for (let n = 1; n <= 3; n += 1) {
    expect(written).toBe(n - 1)
    // The head, and the chunk.
    for (let one = 0; one < 2 && written < n; one += 1) await takeOne()
    expect(written).toBe(n)
  }
  await takeOne()
  const heads = Buffer.from([0x64, ...intOf(100_004)])
  const sent = ['a', 'b', 'c'].flatMap((text) => [heads, Buffer.alloc(100_000, text)])
  expect(Buffer.concat(taken).equals(Buffer.concat([...sent, Buffer.from([0x63, ...intOf(4)])]))).toBe(true)
  expect(copy.writableFinished).toBe(false)
  says('handleCommandComplete', { text: 'COPY 7' })
  says('handleReadyForQuery')
  await all
  expect(copy.rowCount).toBe(7)
})

test('The server is told that the rows will not come, and its answer ends the stream with the reason', async () => {
  const { client, failed, says } = serverOf()
  const copy = copyIn(client, 'copy t from stdin')
  const reason = new Error('the source broke')
  const over = finished(copy)
  copy.destroy(reason)
  expect(failed).toEqual([])
  says('handleCopyInResponse')
  expect(failed).toHaveLength(1)
  // It stands in the log of another's server.
  expect(failed[0]).not.toContain(reason.message)
  expect(copy.closed).toBe(false)
  says('handleError', new Error('COPY from stdin failed'))
  await expect(over).rejects.toBe(reason)
})

test('What the server says, and the end of its connection, is the error of the stream', async () => {
  for (const isAsked of [false, true]) {
    const { client, failed, says, takeOne } = serverOf()
    const copy = copyIn(client, 'copy t from stdin')
    const over = finished(copy)
    copy.write(Buffer.from('a row\n'))
    if (isAsked) says('handleCopyInResponse')
    await takeOne()
    const error = new Error('no such table')
    says('handleError', error)
    await expect(over).rejects.toBe(error)
    expect(failed).toEqual([])
  }
})

function intOf(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
