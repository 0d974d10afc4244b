import type { ChecksumAlgorithm, Column } from '@multiboard-sync/shared/manifest'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { readTables } from '../src/postgres/catalog.ts'
import { readChecksum } from '../src/postgres/checksum.ts'
import { openSession, type Session } from '../src/postgres/session.ts'

const { signal } = new AbortController()

async function open(url: string): Promise<Session> {
  return await openSession({ name: 'production', url, viaProxy: false }, { purpose: 'test', signal })
}

async function sum(session: Session, name: string, algorithm?: ChecksumAlgorithm) {
  const table = (await readTables(session)).find((one) => one.name === name)
  if (table === undefined) throw new Error(`no table ${name}`)
  return await readChecksum(session, table, table.columns, undefined, algorithm)
}

const everything = String.raw`
create type mood as enum ('so so', 'ok');
create type pair as (a int, b text);
create domain small as int check (value < 10);
create table t (
  i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric, m money, b boolean, c char(4), v varchar(9), t text,
  by bytea, ts timestamp, tz timestamptz, d date, tm time, tmz timetz, iv interval, u uuid, j json, jb jsonb, x xml,
  ip inet, cid cidr, mac macaddr, bits bit varying(8), p point, poly polygon, r int4range, tr tstzrange, e mood,
  co pair, dm small, a int[], ta text[], ma numeric[][], tv tsvector, o oid, "q""uo.te" text,
  g int generated always as (i2 * 2) stored);
insert into t values
 (1, 9007199254740993, 1.1, 0.1, 1.50, 12.34, true, 'ab', 'ü☃', E'tab\tnl\n\\.\\', '\xdeadbeef', '2020-01-02 03:04:05.6',
  '2020-01-02 03:04:05.678901+05', '0044-03-15 BC', '23:59:60', '01:02:03+04', '1 year 2 mons -3 days 04:05:06.7',
  '00000000-0000-0000-0000-000000000001', '{"a" :  1}', '{"b": 1, "a": [null]}', '<a>1</a>', '::1', '10.0.0.0/8',
  '08:00:2b:01:02:03', '101', '(1,2.5)', '((0,0),(1,1))', '[1,5)', '["2020-01-01 00:00+02",)', 'ok', '(1,"x y")', 5,
  '{1,NULL,3}', '{"a,b",NULL,"NULL",""}', '{{1.0,2},{3,4}}', 'a:1 b', 4294967295, 'q'),
 (2, -1, 'NaN', 'infinity', 'NaN', -1, false, '', '', '', '', 'infinity', '-infinity', '0001-01-01', '00:00', '00:00+00', '0',
  null, 'null', 'null', '', '1.2.3.4/24', '10.0.0.0/8', '00:00:00:00:00:00', '', '(0,0)', null, 'empty', '(,)', 'so so', '(,)',
  null, '{}', '{}', '{}', '', 0, '');
insert into t default values;`

test('The checksums of values of all types are these numbers on every version', async () => {
  await using database = await createDatabase({ sql: everything })
  await using session = await open(database.url)
  const values = [(await sum(session, 't')).value, (await sum(session, 't', 'chain-hashtextextended-1')).value]
  expect(values).toEqual(['4680190939345609388', '-19795095054102800224'])
})

test('Tables without rows and tables without columns have checksums', async () => {
  await using database = await createDatabase({
    sql: 'create table empty (a int); create table none (); insert into none default values; insert into none default values',
  })
  await using session = await open(database.url)
  expect(await sum(session, 'empty')).toEqual({ rows: 0, value: '0' })
  const none = await sum(session, 'none')
  expect(none.rows).toBe(2)
  expect(none.value).toMatch(/^-?[1-9]\d+$/)
})

test('The order of rows does not matter, and anything else does', async () => {
  const rows = (values: string) => `insert into t values ${values}`
  const variants = [
    `('a', null), ('b', 'c')`,
    `('b', 'c'), ('a', null)`,
    `('a', ''), ('b', 'c')`,
    `(null, 'a'), ('b', 'c')`,
    `('a', null), ('c', 'b')`,
    `('a', null), ('bc', '')`,
    `('A', null), ('b', 'c')`,
    `('a', null), ('b', 'c'), ('b', 'c')`,
    `('a', null), ('a', null), ('b', 'c'), ('b', 'c')`,
  ]
  await using database = await createDatabase({
    sql: `create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
          create table t (x text collate loose, y text)`,
  })
  await using session = await open(database.url)
  const values: string[] = []
  for (const variant of variants) {
    await session.run(`begin; set local search_path = public; ${rows(variant)}`)
    values.push((await sum(session, 't')).value)
    await session.run('rollback')
  }
  expect(values[1]).toBe(values[0])
  expect(new Set(values).size).toBe(variants.length - 1)
})

test('Only the rows of the table itself count, not those of its children', async () => {
  await using database = await createDatabase({
    sql: `create table p (a int); create table k () inherits (p); insert into k values (1); insert into p values (2)`,
  })
  await using session = await open(database.url)
  expect((await sum(session, 'p')).rows).toBe(1)
})

test('A table as wide as PostgreSQL allows has a checksum', async () => {
  const columns = Array.from({ length: 1600 }, (_, n) => `c${n} bool`).join(', ')
  await using database = await createDatabase({
    sql: `create table wide (${columns}); insert into wide (c0, c1599) values (true, false)`,
  })
  await using session = await open(database.url)
  const whole = await sum(session, 'wide')
  expect(whole.rows).toBe(1)
  await session.run('update public.wide set c800 = true')
  expect((await sum(session, 'wide')).value).not.toBe(whole.value)
})

test('Columns are taken in the order given, whatever the order in the table is', async () => {
  await using database = await createDatabase({
    sql: `create table one (a int, b text); create table other (b text, a int);
          insert into one values (1, 'x'); insert into other values ('x', 1)`,
  })
  await using session = await open(database.url)
  const column = (name: string, type: string): Column => ({
    name,
    type,
    not_null: false,
    has_default: false,
    generated: '',
    identity: '',
  })
  const columns = [column('a', 'integer'), column('b', 'text')]
  const one = await readChecksum(session, { schema: 'public', name: 'one' }, columns)
  expect(await readChecksum(session, { schema: 'public', name: 'other' }, columns)).toEqual(one)
})
