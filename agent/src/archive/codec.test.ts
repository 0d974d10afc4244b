import { Readable, Transform } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import * as zlib from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { codecFor, codecOf, isBroken, plainName, requireHere, type Codec } from './codec.ts'

const text = Buffer.from(Array.from({ length: 200_000 }, (_, n) => `${n}\tname ${n * 7919}\n`).join(''))

async function unpack(codec: Codec, packed: Buffer): Promise<Buffer> {
  const unpacker = codec.createUnpacker()
  return await buffer(
    Readable.from([packed])
      .on('error', () => undefined)
      .pipe(unpacker),
  )
}

async function pack(codec: Codec, level: number): Promise<Buffer> {
  return await buffer(Readable.from([text.subarray(0, 1000), text.subarray(1000)]).pipe(codec.createPacker(level)))
}

async function fault(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe.each(['gzip', 'zstd'] as const)('%s', (compression) => {
  const codec = codecFor({ compression, level: 1 })

  it('gives back what was packed, as a stream and as a whole, at every level', async () => {
    for (const level of [1, 9]) {
      const packed = await pack(codec, level)
      expect(packed.length).toBeLessThan(text.length / 2)
      expect((await unpack(codec, packed)).equals(text)).toBe(true)
      expect((await unpack(codec, await codec.packWhole(text, level))).equals(text)).toBe(true)
    }
  })

  it('notices a changed byte by its own checksum, and an end that is not there', async () => {
    const packed = await pack(codec, 1)
    // gzip ends with a checksum and the length, zstd with a checksum.
    const [checksumAt, half] = [packed.length - (compression === 'gzip' ? 8 : 4), packed.length >> 1]
    for (const at of [checksumAt, half]) {
      const changed = Buffer.from(packed)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(await fault(unpack(codec, changed)), `changed at ${at}`).toSatisfy(isBroken)
      expect(await fault(unpack(codec, packed.subarray(0, at))), `cut at ${at}`).toSatisfy(isBroken)
    }
    expect(isBroken(await fault(unpack(codec, packed.subarray(0, -1))))).toBe(true)
    expect(isBroken(new Error('something else'))).toBe(false)
  })

  it('packs into one member or frame, however the rows come', async () => {
    const ends: number[] = []
    for (let run = 0; run < 100; run += 1) {
      const chunks = Array.from({ length: 1 + (run % 7) }, (_, n) =>
        text.subarray(0, 1 + ((run * 7919 + n * 104_729) % 70_000)),
      )
      const framing = new Transform({
        transform: (chunk: Buffer, _encoding, callback) => callback(null, chunk),
        flush: (callback) => callback(null, Buffer.from('end')),
      })
      const packer = codec.createPacker(1)
      const [packed] = await Promise.all([buffer(packer), pipeline(Readable.from(chunks), framing, packer)])
      const unpacker = codec.createUnpacker()
      expect((await buffer(Readable.from([packed]).pipe(unpacker))).length).toBe(Buffer.concat(chunks).length + 3)
      ends.push(packed.length - unpacker.bytesWritten)
    }
    expect(new Set(ends)).toEqual(new Set([0]))
  })

  it('is known by the names of its objects', () => {
    expect(codecOf(`000-pre-data.sql${codec.extension}`)).toBe(codec)
    expect(plainName(`000-pre-data.sql${codec.extension}`)).toBe('000-pre-data.sql')
  })

  it('is refused with what to do about it where this Node.js lacks it', () => {
    expect(() => requireHere({ ...codec, isHere: false })).toThrow(expect.objectContaining({ code: 'config-invalid' }))
  })
})

describe('zstd', () => {
  const zstd = codecFor({ compression: 'zstd', level: 1 })

  it('keeps a checksum of the content, which Node.js leaves out by default', async () => {
    for (const packed of [await pack(zstd, 1), await zstd.packWhole(text, 1)]) {
      // RFC 8878, 3.1.1.1.1: bit 2 of the frame header descriptor, the byte after the magic number.
      expect((packed[4] ?? 0) & 4).toBe(4)
    }
  })

  it('gives a frame no more memory than ours ever need, whatever it asks for', async () => {
    const { ZSTD_c_windowLog: log } = zlib.constants
    const at = async (windowLog: number): Promise<unknown> => {
      const packer = zlib.createZstdCompress({ params: { [log]: windowLog } })
      return await fault(unpack(zstd, await buffer(Readable.from([text, text, text, text]).pipe(packer))))
    }
    expect(await at(23)).toBeUndefined()
    expect(isBroken(await at(24))).toBe(true)
  })
})

it('What is stored as it is has no codec', () => {
  expect(codecOf('RESTORE.txt')).toBeUndefined()
  expect(plainName('RESTORE.txt')).toBe('RESTORE.txt')
})
