import type { TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { syncHere } from './road/values-job.ts'
import { openWorld } from './road/world.ts'

/* Rows that are the same when a job is done, and not only while it looks. */

const SQL = `
  create table public.part (id int primary key, name text);
  create domain public.of_table as regclass;
  create type public.place as (n int, "table" public.of_table);
  create table public.audit (id int primary key, what regclass, types regtype[], place public.place);`
const ROWS = `insert into public.part values (1, 'one'), (2, 'two');
  insert into public.audit values (1, 'public.part', '{public.part,int}', '(1,public.audit)'), (2, null, null, null)`

test('rows that name tables name the live ones after a sync', { timeout: 120_000 }, async () => {
  await using world = await openWorld({
    source: { sql: SQL + ROWS },
    target: { sql: `${SQL} insert into public.audit values (1, 'public.audit', null, null)` },
  })
  const { engine } = await syncHere(world)
  expect(engine).toBe('merge')
  expect(await textOf(world.target)).toEqual(await textOf(world.source))
})

test('a truncate tells how many tables and rows it has replaced', { timeout: 120_000 }, async () => {
  await using world = await openWorld({ source: { sql: SQL + ROWS }, target: { sql: SQL } })
  expect(await syncHere(world, { engine: 'truncate' })).toMatchObject({ tables: 2, rows: 4 })
  expect(await textOf(world.target)).toEqual(await textOf(world.source))
})

async function textOf(database: TestDatabase): Promise<unknown[]> {
  const client = await database.client()
  await client.query(`set search_path = ''`)
  return (await client.query('select a::text as text from public.audit a order by id')).rows
}
