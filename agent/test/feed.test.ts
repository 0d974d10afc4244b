import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import type { Manifest } from '@multiboard-sync/shared/manifest'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { openArchive } from '../src/archive/archive-reader.ts'
import { exportArchive } from '../src/export/export-archive.ts'
import { archiveFeed } from '../src/feed/archive-feed.ts'
import { openLanes } from '../src/lanes/lanes.ts'
import { createTrace } from '../src/lanes/trace.ts'
import { readChecksum } from '../src/postgres/checksum.ts'
import { openSession } from '../src/postgres/session.ts'
import { createReporter } from '../src/report/reporter.ts'
import { BUCKET, PREFIX, deadline, startBench, writer, type Bench } from './archive/setup.ts'
import { copyInto, makeWide, openFeeding, ROWS, TABLES_SQL, type Feeding } from './feed/place.ts'

/* Rows that flow once: out of a source, into an archive, and into a target. */

const DIRECT = '20261122T080312Z-production-aaaa'
const EXPORTED = '20261122T080312Z-production-bbbb'
/** PostgreSQL 13 cannot read a table by ranges of its places. */
const SLICES = (serverVersion: number): number => (serverVersion >= 140_000 ? 2 : 1)
const hasPsql = spawnSync('psql', ['--version']).status === 0

test('rows that flow into a table fill the same archive as an export, and what comes out of it is the same again', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using target = await createDatabase({ sql: TABLES_SQL })
  await using restored = await createDatabase({ sql: TABLES_SQL })
  await using feeding = await openFeeding(database.url, writer(bench, DIRECT))
  const slices = SLICES(feeding.source.identity.serverVersion)
  expect(feeding.piecesOf('Wide')).toHaveLength(slices)
  for (const name of ['small', 'none', 'empty']) expect(feeding.piecesOf(name)).toHaveLength(1)

  const bytes = await pourAll(feeding, target)
  const direct = await feeding.opened.finish()
  expect(direct.manifest.totals.bytes).toBe(bytes)
  expect(direct.manifest.tables.map(({ name, rows }) => [name, rows])).toEqual(Object.entries(ROWS))
  expect(await bench.server.openUploads(BUCKET)).toEqual([])

  const exported = await exportArchive(feeding.asked, writer(bench, EXPORTED), {
    lanes: feeding.lanes,
    reporter: createReporter([]),
    checksums: true,
  })
  // The same snapshot, the same slices: the objects are the same to the last byte.
  expect(exported.manifest.tables).toEqual(direct.manifest.tables)
  await expectSame(target, direct.manifest)

  const archive = await openArchive({ ...bench, prefix: PREFIX }, DIRECT, deadline())
  const feed = archiveFeed(archive, archive.manifest.tables)
  expect(feed.pieces).toHaveLength(slices + 3)
  await using lanes = openLanes({ count: 2, signal: deadline(), trace: createTrace() })
  const client = await restored.client()
  for (const piece of feed.pieces) {
    const sink = copyInto(client, `public."${piece.table.name}"${columnList(piece.table.name)}`)
    const options = { signal: deadline(), onBytes: () => undefined }
    const work = { kind: 'copy', name: piece.table.name, urgency: 1 } as const
    const { rows } = await lanes.run(work, async (lane) => await feed.pour(piece, sink, lane, options))
    expect(sink.rowCount).toBe(rows)
  }
  expect(await feed.finish()).toEqual(direct.manifest.tables)
  await expectSame(restored, direct.manifest)
  expect(new Set(feeding.trace.spans().map(({ kind }) => kind))).toEqual(new Set(['copy', 'checksum']))
})

test.skipIf(!hasPsql)('psql alone restores an archive whose tables have several parts', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using target = await createDatabase()
  await using feeding = await openFeeding(database.url, writer(bench))
  const options = { lanes: feeding.lanes, reporter: createReporter([]), checksums: true }
  const { manifest } = await exportArchive(feeding.asked, writer(bench, EXPORTED), options)
  const parts = manifest.tables.find(({ name }) => name === 'Wide')?.parts
  expect(parts).toHaveLength(SLICES(feeding.source.identity.serverVersion))
  await restoreWithPsql(bench, `${PREFIX}/archives/${EXPORTED}/`, target)
  await expectSame(target, manifest)
})

test('a sink that stands still holds back the source, and the piece goes on when it moves again', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using feeding = await openFeeding(database.url, writer(bench), { checksums: false })
  let [isOpen, goOn] = [false, () => undefined as void]
  let [received, moved] = [0, 0]
  const sink = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      received += chunk.length
      if (isOpen) return callback()
      goOn = callback
    },
  })
  const [piece] = feeding.piecesOf('Wide')
  if (!piece) throw new Error('no piece')
  const pouring = feeding.pour(piece, sink, { onBytes: (bytes) => (moved += bytes) })
  await until('something arrives', () => received > 0)
  await new Promise((resolve) => setTimeout(resolve, 500))
  // The buffers of streams and sockets, and nothing that grows.
  expect(moved).toBeLessThan(3_000_000)
  isOpen = true
  goOn()
  const { rows } = await pouring
  expect(rows).toBeGreaterThan(4000)
  expect(received).toBe(moved)
})

async function pourAll(feeding: Feeding, target: TestDatabase): Promise<number> {
  let bytes = 0
  const onBytes = (more: number): void => void (bytes += more)
  await Promise.all(
    feeding.opened.pieces.map(async (piece) => {
      const client = await target.client()
      const sink = copyInto(client, `public."${piece.table.name}"${columnList(piece.table.name)}`)
      const { rows } = await feeding.pour(piece, sink, { onBytes })
      expect(sink.rowCount).toBe(rows)
    }),
  )
  return bytes
}

function columnList(table: string): string {
  return table === 'Wide' ? '(id, word, filler)' : ''
}

/** Rows and checksums of the target's tables are those of the manifest. */
async function expectSame(target: TestDatabase, manifest: Manifest): Promise<void> {
  const database = { name: 'staging', url: target.url, viaProxy: false }
  await using session = await openSession(database, { purpose: 'test', signal: deadline() })
  for (const table of manifest.tables) {
    const found = await readChecksum(session, table, table.columns)
    expect(found, table.name).toEqual({ rows: table.rows, value: table.checksum?.value })
  }
}

async function restoreWithPsql(bench: Bench, folder: string, target: TestDatabase): Promise<void> {
  const keys = (await bench.server.keys(BUCKET, folder)).filter((key) => key.endsWith('.sql.gz'))
  const objects = await Promise.all(keys.map(async (key) => await bench.server.read(BUCKET, key)))
  const child = spawn('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-1', target.url], { signal: deadline() })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  child.stdout.resume()
  const exit = once(child, 'close')
  await pipeline(Readable.from(objects), createGunzip(), child.stdin)
  expect([await exit, errors]).toEqual([[0, null], ''])
}

async function until(label: string, isSo: () => boolean): Promise<void> {
  const end = Date.now() + 20_000
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`Waited 20 s until ${label}.`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

if (!hasPsql) console.log('skipped: psql is not on this machine')
