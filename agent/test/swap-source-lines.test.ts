import { setTimeout as sleep } from 'node:timers/promises'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { openObjectStore } from '../src/archive/object-store.ts'
import { exportArchive } from '../src/export/export-archive.ts'
import { createReporter } from '../src/report/reporter.ts'
import { BUCKET, startBench, writer } from './archive/setup.ts'
import { copyInto, makeWide, openFeeding, ROWS } from './feed/place.ts'
import { openGate } from './road/gate.ts'

/* Lines that are slow or break while rows leave a source. */

/** One piece of 51 MB, of which two thirds are left when packed: several parts of an upload. */
const LONG_SQL = `create table public.long (id int, filler text);
  alter table public.long alter filler set storage plain;
  insert into public.long select n, (select string_agg(md5(n::text || '-' || k), '') from generate_series(1, 200) k)
  from generate_series(1, 8000) n`
const LONG_BYTES = 8000 * 6400

test('a store that takes nothing holds back the source, and the piece goes on when it moves again', async () => {
  await using bench = await startBench()
  await using database = await createDatabase({ sql: LONG_SQL })
  await using target = await createDatabase({ sql: 'create table public.long (id int, filler text)' })
  const { hostname, port } = new URL(bench.server.endpoint)
  await using proxy = await startChaosProxy({ target: { host: hostname, port: Number(port) } })
  await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
  await using feeding = await openFeeding(database.url, writer({ ...bench, store }), { checksums: false })
  const client = await target.client()
  const sink = copyInto(client, 'public.long')
  let moved = 0
  const [piece, ...others] = feeding.piecesOf('long')
  if (!piece) throw new Error('no piece')
  expect(others).toEqual([])
  proxy.blackhole()
  const pouring = feeding.pour(piece, sink, { onBytes: (bytes) => (moved += bytes) })

  // Two parts are under way and one is filled; the rest stays where it is.
  let before = -1
  const end = Date.now() + 20_000
  while (moved === 0 || moved !== before) {
    if (Date.now() > end) throw new Error('The source was not held back within 20 s.')
    before = moved
    await sleep(1_500)
  }
  expect(moved).toBeLessThan(LONG_BYTES * 0.8)
  expect(sink.writableFinished).toBe(false)

  await proxy.resume()
  expect(await pouring).toEqual({ rows: 8000 })
  expect(sink.rowCount).toBe(8000)
  const { rows } = await client.query(
    'select count(*)::int as rows, sum(length(filler))::int as bytes from public.long',
  )
  expect(rows).toEqual([{ rows: 8000, bytes: LONG_BYTES }])
})

test('a connection that the network cuts in the middle of its COPY costs its piece alone', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using gate = await openGate(new URL(database.url))
  await using feeding = await openFeeding(gate.url(database.url), writer(bench), { checksums: false })
  const holder = feeding.source.holder.backendPid
  const cut = gate.stopAt(/copy .*"Wide"/, 'after').then(async (caught) => {
    await caught.answered
    caught.cut()
  })
  const options = { lanes: feeding.lanes, reporter: createReporter([]), checksums: true }
  const { manifest } = await exportArchive(feeding.asked, writer(bench, '20261122T080312Z-production-dddd'), options)
  await cut
  expect(manifest.tables.map(({ name, rows }) => [name, rows])).toEqual(Object.entries(ROWS))
  expect(feeding.source.holder.backendPid).toBe(holder)
  expect(await bench.server.openUploads(BUCKET)).toEqual([])
})
