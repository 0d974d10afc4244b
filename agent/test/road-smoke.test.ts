import { expect, test } from 'vitest'
import { openWorld } from './road/world.ts'

const SQL = `
create table public."Component" (id bigserial primary key, name text not null, price numeric, "createdAt" timestamptz default now());
create table public."File" (id int generated always as identity primary key, component_id bigint references public."Component", data bytea);
create index on public."Component" (name);
insert into public."Component" (name, price) select 'part ' || n, n * 1.5 from generate_series(1, 1000) n;
insert into public."File" (component_id, data) select n, decode(md5(n::text), 'hex') from generate_series(1, 500) n;`

test('a sync creates, and then replaces, the tables of an empty target', async () => {
  await using world = await openWorld({ source: { sql: SQL } })
  const doctor = await world.agent(['doctor'])
  console.log(doctor)
  const first = await world.agent(['sync', '--from', 'production', '--to', 'staging', '--json'])
  console.log(first)
  const second = await world.agent(['sync', '--from', 'production', '--to', 'staging', '--json'])
  console.log(second)
  const plan = await world.agent(['sync', '--from', 'production', '--to', 'staging', '--dry-run'])
  console.log(plan.stdout)
  const archives = await world.agent(['archives'])
  console.log(archives.stdout)
  const export_ = await world.agent(['export', '--from', 'production', '--tables', 'File'])
  console.log(export_)
  expect(second.code).toBe(0)
})
