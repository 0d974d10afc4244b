import { Writable } from 'node:stream'
import { expect, test } from 'vitest'
import { teeInto } from './tee.ts'

/** As a COPY gives its rows: the memory of a chunk is written again as soon as the next one is asked for. */
async function* inOneBuffer(texts: string[]): AsyncGenerator<Buffer> {
  const memory = Buffer.alloc(100)
  for (const text of texts) {
    yield memory.subarray(0, memory.write(text))
    memory.fill('?')
  }
}

test('A chunk is kept for the slower of both, and both get all', async () => {
  const texts = ['one', 'two', 'three', 'four']
  for (const [readerMs, sinkMs] of [
    [0, 5],
    [5, 0],
    [0, 0],
  ] as const) {
    const sunk: string[] = []
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, callback) =>
        void setTimeout(() => {
          sunk.push(chunk.toString())
          callback()
        }, sinkMs),
    })
    const read: string[] = []
    for await (const chunk of teeInto(sink, inOneBuffer(texts))) {
      await new Promise((resolve) => setTimeout(resolve, readerMs))
      read.push(chunk.toString())
    }
    expect([read, sunk]).toEqual([texts, texts])
    expect(sink.writableEnded).toBe(false)
  }
})

test('A sink that fails, or is closed while it stands still, ends it', async () => {
  const full = new Error('full')
  const failing = new Writable({ write: (_chunk, _encoding, callback) => callback(full) }).on('error', () => undefined)
  await expect(Array.fromAsync(teeInto(failing, inOneBuffer(['one', 'two'])))).rejects.toBe(full)
  // Never calls back.
  const still = new Writable({ write: () => undefined }).on('error', () => undefined)
  const all = Array.fromAsync(teeInto(still, inOneBuffer(['one', 'two'])))
  setTimeout(() => still.destroy(full), 10)
  await expect(all).rejects.toBe(full)
})
