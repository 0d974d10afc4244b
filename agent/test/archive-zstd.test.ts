import { createHash } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { zstdCompressSync, constants } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openArchive } from '../src/archive/archive-reader.ts'
import { openRows } from '../src/archive/open-rows.ts'
import { verifyArchive } from '../src/archive/verify-archive.ts'
import { BUCKET, ID, PREFIX, SAMPLES, SQL, deadline, startBench, writeSamples, type Bench } from './archive/setup.ts'

const FOLDER = `${PREFIX}/archives/${ID}/`
const PACKED = [
  '000-pre-data.sql.zst',
  '100-data/public.Component/00000.sql.zst',
  '100-data/public.Component/00001.sql.zst',
  '800-sequences.sql.zst',
  '900-post-data.sql.zst',
]

describe('an archive packed with zstd', () => {
  let bench: Bench
  let intact: Map<string, Buffer>

  beforeAll(async () => {
    bench = await startBench()
    await writeSamples(bench, ID, 'export', { compression: 'zstd', level: 3 })
    const keys = await bench.server.keys(BUCKET, FOLDER)
    intact = new Map(await Promise.all(keys.map(async (key) => [key, await bench.server.read(BUCKET, key)] as const)))
  })
  afterAll(async () => await bench[Symbol.asyncDispose]())
  afterEach(async () => {
    for (const [key, bytes] of intact) await bench.store.putText(key, bytes, { signal: deadline() })
  })

  const open = async () => await openArchive({ store: bench.store, prefix: PREFIX, trust: bench.trust }, ID, deadline())

  it('has names that say so, and gives back every row and every statement', async () => {
    expect([...intact.keys()]).toEqual(expect.arrayContaining(PACKED.map((key) => FOLDER + key)))
    expect([...intact.keys()].filter((key) => key.endsWith('.gz'))).toEqual([])
    const archive = await open()
    for (const [name, sql] of Object.entries(SQL)) expect(await archive.readSql(name)).toBe(sql)
    for (const sample of SAMPLES) {
      const table = archive.manifest.tables.find(({ schema, name }) => schema === sample.schema && name === sample.name)
      if (!table) throw new Error(`no table ${sample.name}`)
      const texts: string[] = []
      for (const part of table.parts) texts.push(await text(await archive.readRows(table, part, deadline())))
      expect(texts).toEqual(sample.parts)
    }
  })

  it('tells in RESTORE.txt to unpack it with zstd', async () => {
    const recipe = (intact.get(`${FOLDER}RESTORE.txt`) ?? '').toString()
    expect(recipe).toContain('cat 000* 100-data/*/* 800* 900* | zstd -dc | psql -v ON_ERROR_STOP=1 -1 empty_db\n')
    expect(recipe).toContain(`-name '*.sql.zst'`)
    expect(recipe).not.toContain('gunzip')
    expect(recipe).not.toContain('.gz')
  })

  it('is damaged when one byte of any of its objects differs', async () => {
    for (const key of PACKED) {
      const bytes = intact.get(FOLDER + key)
      if (!bytes) throw new Error(`no ${key}`)
      for (const at of [0, 4, bytes.length >> 1, bytes.length - 1]) {
        await bench.server.flipByte(BUCKET, FOLDER + key, at)
        await expect(verifyArchive(await open(), deadline()), `${key} at ${at}`).rejects.toMatchObject({
          code: 'archive-damaged',
        })
        await bench.server.flipByte(BUCKET, FOLDER + key, at)
      }
    }
    await verifyArchive(await open(), deadline())
  })
})

/** Reads a part whose manifest agrees with the stored bytes, as a writer's own mistake would make it. */
async function read(packed: Buffer, pieces = 1): Promise<void> {
  const part = {
    key: 'p.sql.zst',
    header_bytes: 6,
    rows: 1,
    bytes: 2,
    compressed_bytes: packed.length,
    sha256: createHash('sha256').update(packed).digest('hex'),
  }
  const size = Math.ceil(packed.length / pieces)
  const chunks = Array.from({ length: pieces }, (_, n) => packed.subarray(n * size, (n + 1) * size))
  const nowhere = new Writable({ write: (_chunk, _encoding, callback) => callback() })
  await pipeline(openRows(Readable.from(chunks), part, deadline()), nowhere)
}

function pack(content: string): Buffer {
  return zstdCompressSync(Buffer.from(content), { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
}

it('A zstd part that its manifest agrees with is refused when it is cut off, wrong, or followed by something', async () => {
  const whole = pack('COPY;\n1\n\\.\n')
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7])
  const bad: Record<string, Buffer> = {
    'cut in its checksum': whole.subarray(0, -1),
    'cut before its checksum': whole.subarray(0, -4),
    'cut in half': whole.subarray(0, whole.length >> 1),
    'without a byte': Buffer.alloc(0),
    'not zstd': Buffer.from('COPY;\n1\n\\.\n'),
    'a byte more': Buffer.concat([whole, Buffer.from('x')]),
    'garbage behind it': Buffer.concat([whole, Buffer.alloc(100_000, 'x')]),
    'a second frame': Buffer.concat([whole, pack('2\n')]),
    'a frame that readers skip': Buffer.concat([whole, skippable]),
    'another checksum': Buffer.concat([whole.subarray(0, -1), Buffer.from([(whole.at(-1) ?? 0) ^ 1])]),
    'another content': pack('COPY;\n1\n2\n\\.\n'),
  }
  for (const pieces of [1, 5]) {
    await read(whole, pieces)
    for (const [what, packed] of Object.entries(bad)) {
      await expect(read(packed, pieces), `${what}, in ${pieces}`).rejects.toMatchObject({ code: 'archive-damaged' })
    }
  }
})
