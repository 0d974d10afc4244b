import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { openSource, type Source } from '../src/postgres/open-source.ts'
import { deadline } from './archive/setup.ts'

/* Who keeps the moment that a job reads from, when the server or the network ends a connection. */

const SQL = `create table public.part as select n as id from generate_series(1, 3) n;
  create table public.other (id int);`

test('when the holder of the snapshot is ended, its spare takes over, and readers see the same moment', async () => {
  await using database = await createDatabase({ sql: SQL })
  const admin = await database.client()
  await using source = await openSource({ name: 'production', url: database.url, viaProxy: false }, 'test', deadline())
  const first = source.holder.backendPid
  const before = await source.openReader('export')
  await spares(admin, 1)
  await admin.query('delete from public.part where id = 1')

  // Twice: the spare that took over has a spare of its own.
  for (let n = 1; n <= 2; n += 1) {
    const lost = source.holder.backendPid
    await admin.query('select pg_terminate_backend($1)', [lost])
    await gone(admin, lost)
    const [reader, another] = await Promise.all([source.openReader('export'), source.openReader('export')])
    expect(source.holder.backendPid).not.toBe(lost)
    for (const one of [before, reader, another]) expect(await countParts(one)).toBe(3)
    expect(await countParts(source.holder)).toBe(3)
    await Promise.all([reader.close(), another.close()])
    // The one that took over was a spare, too.
    await spares(admin, 2)
  }
  expect(source.holder.backendPid).not.toBe(first)
  await before.close()
  // The tables stayed locked without a gap: a TRUNCATE would leave readers with an empty table.
  await admin.query(`set lock_timeout = '100ms'`)
  await expect(admin.query('truncate public.part')).rejects.toMatchObject({ code: '55P03' })
  await expect(admin.query('truncate public.other')).rejects.toMatchObject({ code: '55P03' })
})

test('when the holder and its spare are ended together, the next reader is told so', async () => {
  await using database = await createDatabase({ sql: SQL })
  const admin = await database.client()
  await using source = await openSource({ name: 'production', url: database.url, viaProxy: false }, 'test', deadline())
  await (await source.openReader('export')).close()
  await spares(admin, 1)
  await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name like 'multiboard-sync %' and datname = current_database()`)
  await gone(admin, source.holder.backendPid)
  await expect(source.openReader('export')).rejects.toMatchObject({ code: 'connection-lost', retryable: true })
})

test('a source that nobody reads rows from has one connection', async () => {
  await using database = await createDatabase({ sql: SQL })
  const admin = await database.client()
  await using source = await openSource({ name: 'production', url: database.url, viaProxy: false }, 'test', deadline())
  expect(source.tables.map(({ name }) => name)).toEqual(['other', 'part'])
  const { rows } = await admin.query(`select from pg_stat_activity
    where application_name like 'multiboard-sync %' and datname = current_database()`)
  expect(rows).toHaveLength(1)
})

async function countParts(session: Source['holder']): Promise<number | undefined> {
  const [row] = await session.query<{ rows: number }>('select count(*)::int as rows from public.part')
  return row?.rows
}

/** Waits until so many sessions hold the snapshot as spares, or did so before they took over. */
async function spares(admin: pg.Client, count: number): Promise<void> {
  await until(`${count} spare holders are there`, async () => {
    const { rows } = await admin.query(`select from pg_stat_activity
      where application_name = 'multiboard-sync spare snapshot' and datname = current_database()
        and state = 'idle in transaction' and query ~ '^select'`)
    return rows.length === count
  })
}

async function gone(admin: pg.Client, pid: number): Promise<void> {
  await until(`backend ${pid} was gone`, async () => {
    return (await admin.query('select from pg_stat_activity where pid = $1', [pid])).rowCount === 0
  })
}

async function until(label: string, isSo: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`Waited 20 s until ${label}.`)
    await sleep(20)
  }
}
