import { randomBytes } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { expect, it } from 'vitest'
import { openArchive } from '../src/archive/archive-reader.ts'
import { ID, PREFIX, column, deadline, facts, startBench, writer } from './archive/setup.ts'

const MiB = 1024 * 1024
const ROW_BYTES = 128
const CHUNK_BYTES = 64 * 1024
const CHUNKS = 1600

/** Rows that pack to about a third, as real ones do; the server of this test runs in this very process. */
function rows(): Readable {
  const chunk = Buffer.alloc(CHUNK_BYTES, 'a bolt, a plate and a snap; ')
  for (let at = 0; at < CHUNK_BYTES; at += ROW_BYTES) {
    chunk.write(randomBytes(24).toString('hex'), at)
    chunk[at + ROW_BYTES - 1] = 10
  }
  function* chunks(): Generator<Buffer> {
    for (let n = 0; n < CHUNKS; n += 1) yield Buffer.from(chunk)
  }
  return Readable.from(chunks(), { objectMode: false })
}

async function peakGrowth(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage.rss()
  let peak = before
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 20)
  await work()
  clearInterval(timer)
  return peak - before
}

it('100 MiB go into the archive and come out of it in a few dozen megabytes of memory', async () => {
  await using bench = await startBench()
  const archive = writer(bench)
  const table = { schema: 'public', name: 'Component', columns: [column('x')] }
  const expected = { rows: (CHUNKS * CHUNK_BYTES) / ROW_BYTES, bytes: CHUNKS * CHUNK_BYTES }
  const upGrowth = await peakGrowth(async () => {
    const options = { columns: table.columns, expectedBytes: expected.bytes, signal: deadline(50_000) }
    const part = await archive.putPart(table, 0, rows(), options)
    expect(part).toMatchObject(expected)
    await archive.finish({ ...facts, tables: [{ ...table, ...expected, parts: [part] }] }, deadline())
  })
  expect(upGrowth).toBeLessThan(120 * MiB)

  const opened = await openArchive({ store: bench.store, prefix: PREFIX, trust: bench.trust }, ID, deadline())
  let bytes = 0
  const downGrowth = await peakGrowth(async () => {
    const [stored] = opened.manifest.tables
    const [part] = stored?.parts ?? []
    if (!stored || !part) throw new Error('The manifest lacks the table.')
    const count = new Writable({
      write(chunk: Buffer, _encoding, callback) {
        bytes += chunk.length
        callback()
      },
    })
    await pipeline(await opened.readRows(stored, part, deadline(50_000)), count)
  })
  expect(bytes).toBe(expected.bytes)
  expect(downGrowth).toBeLessThan(120 * MiB)
  console.log(`memory grew by ${Math.round(upGrowth / MiB)} MiB up, ${Math.round(downGrowth / MiB)} MiB down`)
})
