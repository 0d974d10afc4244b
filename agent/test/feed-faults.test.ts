import { Writable } from 'node:stream'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { openObjectStore } from '../src/archive/object-store.ts'
import { exportArchive } from '../src/export/export-archive.ts'
import { createReporter } from '../src/report/reporter.ts'
import { BUCKET, deadline, startBench, writer } from './archive/setup.ts'
import { copyInto, makeWide, openFeeding, ROWS, TABLES_SQL, type Feeding } from './feed/place.ts'

/* What breaks while rows flow into an archive and a sink: the piece fails whole, leaves nothing open, and can be poured again. */

const READERS = `select pg_terminate_backend(pid) from pg_stat_activity
  where application_name = 'multiboard-sync export' and datname = current_database()`

test('a sink that fails fails its piece with its own error, and the piece can be poured again', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using target = await createDatabase({ sql: TABLES_SQL })
  await using feeding = await openFeeding(database.url, writer(bench), { checksums: false })
  const client = await target.client()
  const full = new Error('the sink is full')
  await expect(
    pourWide(
      feeding,
      sinkThat(2_000_000, () => full),
    ),
  ).rejects.toBe(full)
  expect(await bench.server.openUploads(BUCKET)).toEqual([])

  // What PostgreSQL says comes as it is: who loads knows what it means. Also when it says it before the first row.
  await client.query(`insert into public."Wide" (id) values (500)`)
  await expect(pourWide(feeding, wideSink(client))).rejects.toMatchObject({ code: '23505' })
  await expect(pourWide(feeding, copyInto(client, 'public.nowhere'))).rejects.toMatchObject({ code: '42P01' })
  expect(await bench.server.openUploads(BUCKET)).toEqual([])
  await client.query('delete from public."Wide"')
  await pourAll(feeding, client)
})

test('a store that refuses a part fails the piece and its sink, and the piece can be poured again', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using target = await createDatabase({ sql: TABLES_SQL })
  await using proxy = await startChaosProxy({ target: addressOf(bench.server.endpoint) })
  await using store = openObjectStore({ ...bench.config, endpoint: proxy.url(bench.server.endpoint) })
  await using feeding = await openFeeding(database.url, writer({ ...bench, store }), { checksums: false })
  const client = await target.client()
  proxy.rewrite((bytes) => {
    const answer = bytes.toString('latin1')
    if (!/^HTTP\/1\.1 200 OK\r\n[^]*^etag:/im.test(answer)) return bytes
    // The answer to the first part alone: the upload was opened before and is ended after it.
    proxy.rewrite(undefined)
    return Buffer.from(answer.replace('200 OK', '403 NO'), 'latin1')
  })
  const sink = wideSink(client)
  const closed = new Promise((resolve) => sink.once('close', resolve))
  await expect(pourWide(feeding, sink)).rejects.toMatchObject({ name: 'SyncError', code: 'storage-auth' })
  await closed
  expect(sink.writableFinished).toBe(false)
  expect(await bench.server.openUploads(BUCKET)).toEqual([])
  await pourAll(feeding, client)
})

test('a source that ends the connection fails the piece and its sink, and the piece can be poured again', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using target = await createDatabase({ sql: TABLES_SQL })
  await using feeding = await openFeeding(database.url, writer(bench), { checksums: false })
  const [client, admin] = [await target.client(), await database.client()]
  const sink = sinkThat(2_000_000, () => void admin.query(READERS))
  await expect(pourWide(feeding, sink)).rejects.toMatchObject({ code: 'connection-lost', retryable: true })
  expect(sink.errored).toMatchObject({ code: 'connection-lost' })
  expect(await bench.server.openUploads(BUCKET)).toEqual([])
  await pourAll(feeding, client)
})

test('a source that cannot be reached any more has lost its snapshot, and every further pour says so', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using proxy = await startChaosProxy({ target: addressOf(database.url) })
  await using feeding = await openFeeding(proxy.url(database.url), writer(bench), { checksums: false })
  const cut = sinkThat(2_000_000, () => proxy.cutAll())
  await expect(pourWide(feeding, cut)).rejects.toMatchObject({ code: 'connection-lost', retryable: true })
  const error = { code: 'connection-lost', message: 'Nobody holds the snapshot of "production" any more.' }
  await expect(pourWide(feeding, sinkThat(Infinity))).rejects.toMatchObject(error)
})

test('a piece that is stopped throws the reason, and can be poured again', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using target = await createDatabase({ sql: TABLES_SQL })
  await using feeding = await openFeeding(database.url, writer(bench), { checksums: false })
  const stop = new AbortController()
  const reason = new Error('enough')
  const sink = sinkThat(2_000_000, () => stop.abort(reason))
  await expect(pourWide(feeding, sink, stop.signal)).rejects.toBe(reason)
  expect(sink.destroyed).toBe(true)
  expect(await bench.server.openUploads(BUCKET)).toEqual([])
  await pourAll(feeding, await target.client())
})

test('an export whose connections are ended on the way copies those pieces again, and is whole', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using feeding = await openFeeding(database.url, writer(bench), { checksums: false })
  const admin = await database.client()
  const ended: Promise<pg.QueryResult>[] = []
  const sink = {
    phase: () => undefined,
    event: () => undefined,
    progress: ({ bytes }: { bytes: number }) => {
      if (bytes > 1_000_000 && ended.length === 0) ended.push(admin.query(READERS))
    },
  }
  const options = { lanes: feeding.lanes, reporter: createReporter([sink]), checksums: true }
  const { manifest } = await exportArchive(feeding.asked, writer(bench, '20261122T080312Z-production-cccc'), options)
  expect((await Promise.all(ended)).map(({ rowCount }) => rowCount)).not.toContain(0)
  expect(ended).toHaveLength(1)
  expect(manifest.tables.map(({ name, rows }) => [name, rows])).toEqual(Object.entries(ROWS))
  expect(await bench.server.openUploads(BUCKET)).toEqual([])
})

/** The first piece of the big table. */
async function pourWide(feeding: Feeding, sink: Writable, signal: AbortSignal = deadline()): Promise<void> {
  const [piece] = feeding.piecesOf('Wide')
  if (piece) await feeding.pour(piece, sink, { signal })
}

async function pourAll(feeding: Feeding, client: pg.Client): Promise<void> {
  for (const piece of feeding.opened.pieces) {
    const { name } = piece.table
    const sink = name === 'Wide' ? wideSink(client) : copyInto(client, `public."${name}"`)
    await feeding.pour(piece, sink)
  }
  const { manifest } = await feeding.opened.finish()
  expect(manifest.tables.map(({ name, rows }) => [name, rows])).toEqual(Object.entries(ROWS))
  const { rows } = await client.query<{ rows: number }>('select count(*)::int as rows from public."Wide"')
  expect(rows).toEqual([{ rows: ROWS.Wide }])
}

function wideSink(client: pg.Client): Writable {
  return copyInto(client, 'public."Wide" (id, word, filler)')
}

/** Does something once it has got so many bytes; what that answers is its failure. */
function sinkThat(bytes: number, act: () => Error | void = () => undefined): Writable {
  let received = 0
  return new Writable({
    write(chunk: Buffer, _encoding, callback) {
      const hadEnough = received >= bytes
      received += chunk.length
      callback((!hadEnough && received >= bytes && act()) || null)
    },
  })
}

function addressOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port) }
}
