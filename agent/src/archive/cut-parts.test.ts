import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { expect, it } from 'vitest'
import { cutParts } from './cut-parts.ts'

const KiB = 1024

async function cut(body: Buffer, pieceBytes: number, nextBytes: (sent: number, bytes: number) => number) {
  const pieces = Array.from({ length: Math.ceil(body.length / pieceBytes) }, (_, n) =>
    body.subarray(n * pieceBytes, (n + 1) * pieceBytes),
  )
  const parts: { bytes: Buffer; isLast: boolean }[] = []
  for await (const part of cutParts(Readable.from(pieces, { objectMode: false }), nextBytes)) {
    // As a sender does: what is kept was copied before the memory is given back.
    parts.push({ bytes: Buffer.from(part.bytes), isLast: part.isLast })
    part.giveBack()
  }
  return parts
}

it.each([
  [0, 64 * KiB],
  [1, 64 * KiB],
  [200 * KiB, 7 * KiB],
  [1000 * KiB - 1, 64 * KiB],
  [1000 * KiB, 64 * KiB],
  [1000 * KiB + 1, 64 * KiB],
  [3000 * KiB, 2500 * KiB],
  [3001 * KiB, 997],
])('%d bytes in pieces of %d come out whole, and only the last part is smaller', async (bytes, pieceBytes) => {
  const body = randomBytes(bytes)
  const parts = await cut(body, pieceBytes, () => 1000 * KiB)
  expect(Buffer.concat(parts.map((part) => part.bytes)).equals(body)).toBe(true)
  expect(parts.map(({ isLast }) => isLast)).toEqual(parts.map((_, n) => n === parts.length - 1))
  expect(parts.length).toBe(Math.max(1, Math.ceil(bytes / (1000 * KiB))))
  for (const part of parts.slice(0, -1)) expect(part.bytes.length).toBe(1000 * KiB)
})

it('parts grow as they are asked to', async () => {
  const body = randomBytes(2000 * KiB)
  const parts = await cut(body, 64 * KiB, (sent, bytes) => (sent < 2 ? 300 * KiB : bytes))
  expect(parts.map((part) => part.bytes.length / KiB)).toEqual([300, 300, 600, 800])
  expect(Buffer.concat(parts.map((part) => part.bytes)).equals(body)).toBe(true)
})

it('the memory of a part that was given back is used again', async () => {
  const memory = new Set<ArrayBufferLike>()
  const body = Readable.from(
    Array.from({ length: 40 }, () => Buffer.alloc(512 * KiB)),
    { objectMode: false },
  )
  for await (const part of cutParts(body, () => 1024 * KiB)) {
    memory.add(part.bytes.buffer)
    part.giveBack()
  }
  expect(memory.size).toBe(1)
})

it('an error of the body comes through as it is', async () => {
  const error = new Error('the rows broke off')
  function* broken(): Generator<Buffer> {
    yield Buffer.alloc(10)
    throw error
  }
  const reading = Array.fromAsync(cutParts(Readable.from(broken(), { objectMode: false }), () => 100))
  await expect(reading).rejects.toBe(error)
})
