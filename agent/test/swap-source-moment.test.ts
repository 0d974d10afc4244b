import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { openSource } from '../src/postgres/open-source.ts'
import { BUCKET, deadline, startBench, writer } from './archive/setup.ts'
import { makeWide, openFeeding } from './feed/place.ts'

/* Readers keep a snapshot whose holders are gone, and not the locks: what was truncated since then they find empty. */

const HOLDERS = `application_name in ('multiboard-sync test', 'multiboard-sync spare snapshot')
  and datname = current_database()`

test('an archive is not written when a table could be truncated before it was read, although its readers lived on', async () => {
  await using bench = await startBench()
  await using database = await makeWide()
  await using feeding = await openFeeding(database.url, writer(bench), { checksums: false, count: 1 })
  const admin = await database.client()
  const [wide, small] = [feeding.piecesOf('Wide'), feeding.piecesOf('small')]
  for (const piece of wide) await feeding.pour(piece)
  await until('the spare holder is there', async () => (await count(admin, `${HOLDERS} and query ~ '^select'`)) === 2)

  // What a watchdog against idle transactions does, or a standby that must go on replaying.
  await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${HOLDERS}`)
  await until('both holders are gone', async () => (await count(admin, HOLDERS)) === 0)
  await admin.query('truncate public.small')
  for (const piece of small) expect(await feeding.pour(piece)).toEqual({ rows: 0 })
  for (const name of ['none', 'empty']) for (const piece of feeding.piecesOf(name)) await feeding.pour(piece)

  await expect(feeding.opened.finish()).rejects.toMatchObject({ code: 'connection-lost' })
  expect((await bench.server.keys(BUCKET, '')).filter((key) => key.includes('manifest'))).toEqual([])
})

test('a spare that got its locks only after the holder was gone does not take its place', async () => {
  await using database = await createDatabase({
    sql: 'create table public.part as select n as id from generate_series(1, 3) n',
  })
  const [admin, other] = [await database.client(), await database.client()]
  await using source = await openSource({ name: 'production', url: database.url, viaProxy: false }, 'test', deadline())
  const truncated = other.query('truncate public.part')
  await until(
    'TRUNCATE waits for the holder',
    async () => (await count(admin, `query ~ '^truncate' and ${WAITS}`)) === 1,
  )
  await using reader = await source.openReader('export')
  await until('the spare waits, too', async () => (await count(admin, `query ~ '^lock table' and ${WAITS}`)) === 1)
  await admin.query('select pg_terminate_backend($1)', [source.holder.backendPid])
  await truncated
  expect(await reader.query('select from public.part')).toEqual([])
  await expect(source.openReader('export')).rejects.toMatchObject({ code: 'connection-lost' })
  await expect(source.stand()).rejects.toMatchObject({ code: 'connection-lost' })
})

const WAITS = `wait_event_type = 'Lock' and datname = current_database()`

async function count(admin: pg.Client, where: string): Promise<number> {
  return (await admin.query(`select from pg_stat_activity where pid <> pg_backend_pid() and ${where}`)).rowCount ?? 0
}

async function until(label: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`Waited 20 s until ${label}.`)
    await sleep(20)
  }
}
