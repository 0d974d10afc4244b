import { pipeline } from 'node:stream/promises'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import copyStreams from 'pg-copy-streams'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyColumns, readTables } from '../src/postgres/catalog.ts'
import { readChecksum, type Checksum } from '../src/postgres/checksum.ts'
import { openSession, type Session } from '../src/postgres/session.ts'

/** Distinct values of each type, as SQL, such that COPY writes another text for each. `null` is one of every type's. */
const values: Record<string, string[]> = {
  smallint: ['0', '1', '-1', '-32768'],
  int: ['0', '1', '-1', '-2147483648', '2147483647'],
  // The last three are one number once their halves are folded into 32 bits.
  bigint: ['0', '-1', '9223372036854775807', '1', '4294967296', '-4294967298'],
  oid: ['0', '4294967295'],
  boolean: ['true', 'false'],
  real: [`'0'`, `'-0'`, `'NaN'`, `'infinity'`, `'1.1'`, `'1.1000001'`],
  'double precision': [`'0'`, `'-0'`, `'NaN'`, `'-infinity'`, '0.1', '0.10000000000000002', '5e-324'],
  numeric: ['0', '0.0', '1.5', '1.50', `'NaN'`, '1e100', '-1e-100'],
  money: ['0', '-0.01'],
  text: [`''`, `' '`, `'a'`, `'A'`, `'ü'`, `'u\u0308'`, `E'\\n'`, `'\\N'`, `'null'`],
  'text collate loose': [`''`, `'a'`, `'A'`, `'á'`],
  'varchar(3)': [`''`, `'a'`, `'a '`],
  'char(3)': [`''`, `'a'`, `'A'`],
  bpchar: [`''`, `'a'`, `'a '`, `'a  '`],
  '"char"': [`''`, `'a'`],
  name: [`''`, `'a'`],
  bytea: [`''`, `'\\x00'`, `'\\x0000'`, `'\\xff'`],
  uuid: [`'00000000-0000-0000-0000-000000000000'`, `'00000000-0000-0000-0000-000000000001'`],
  timestamp: [`'infinity'`, `'-infinity'`, `'2000-01-01'`, `'2000-01-01 00:00:00.000001'`, `'4713-01-01 BC'`],
  'timestamp(3)': [`'2000-01-01 00:00:00.001'`, `'2000-01-01'`],
  timestamptz: [`'infinity'`, `'-infinity'`, `'2000-01-01 00:00+00'`, `'2000-01-01 00:00+01'`],
  date: [`'infinity'`, `'2000-01-01'`, `'0001-01-01 BC'`],
  time: [`'00:00'`, `'24:00'`],
  timetz: [`'00:00+00'`, `'01:00+01'`],
  interval: [`'0'`, `'24 hours'`, `'1 day'`, `'30 days'`, `'1 month'`, `'-1 month 30 days'`],
  json: [`'1'`, `'1.0'`, `' 1'`, `'{"a":1,"a":1}'`, `'{"a":1}'`, `'null'`],
  jsonb: [`'1'`, `'1.0'`, `'[[1],2]'`, `'[[1,2]]'`, `'{}'`, `'[]'`, `'null'`, `'"null"'`],
  xml: [`''`, `'<a/>'`, `'<a> </a>'`],
  'int[]': [`'{}'`, `'{1}'`, `'{{1}}'`, `'[0:0]={1}'`, `'{NULL}'`, `'{1,NULL}'`, `'{NULL,1}'`],
  'text[]': [`'{}'`, `'{""}'`, `'{NULL}'`, `'{"NULL"}'`, `'{a,b}'`, `'{"a,b"}'`, `'{{a,b}}'`, `'{{a},{b}}'`],
  'timestamptz[]': [`'{}'`, `'{2000-01-01 00:00+00}'`, `'{2000-01-01 00:00+01}'`],
  'varchar(3)[]': [`'{}'`, `'{a}'`],
  'char(2)[]': [`'{}'`, `'{a}'`],
  int4range: [`'empty'`, `'(,)'`, `'[1,5)'`, `'[1,6)'`],
  tstzrange: [`'empty'`, `'(,)'`, `'[2000-01-01 00:00+00,)'`, `'(2000-01-01 00:00+00,)'`, `'[,infinity]'`],
  'bit varying': [`''`, `'0'`, `'00'`, `'1'`],
  inet: [`'1.2.3.4'`, `'1.2.3.4/24'`, `'::1'`],
  cidr: [`'10.0.0.0/8'`, `'10.0.0.0/9'`],
  tsvector: [`''`, `'a'`, `'a:1'`, `'a:1A'`],
  point: [`'(0,0)'`, `'(-0,0)'`, `'(0,1)'`],
  mood: [`'so so'`, `'ok'`, `''`, `'OK'`],
  'mood[]': [`'{}'`, `'{ok}'`, `'{"so so"}'`],
  pair: [`'(,)'`, `'(1,)'`, `'(,"")'`, `'(1,"(1,)")'`, `'("1","a,b")'`],
  'pair[]': [`'{}'`, `'{"(,)"}'`, `'{NULL}'`],
  small: ['0', '1'],
  padded: [`''`, `'a'`, `'a '`],
  document: [`''`, `'<a/>'`],
  // Its cast to text gives less than COPY does.
  shy: [`'(1,2)'`, `'(1,3)'`, `'(,)'`],
  citext: [`''`, `'a'`, `'A'`],
}

/** Values that are stored in another way than those read back from COPY. */
const oddlyStored = [
  `create table nan as select 'infinity'::float8 - 'infinity'::float8 as a, 'infinity'::float4 - 'infinity'::float4 as b`,
  `create table flag (a int[], b text[]); insert into flag values ('{1,NULL}', '{NULL,x}');
   update flag set a[2] = 2, b[1] = 'y'`,
  `create table zero as select 0.00 * 1000000 as a, 100 * 0.010 as b, -0.0::numeric as c, '1e-5'::numeric as d`,
  `create table packed as select repeat('ab', 50000) as a, decode(repeat('01', 1000), 'hex') as b,
   jsonb_build_object('k', repeat('x', 10000)) as c, xmlparse(document '<?xml version="1.0" encoding="utf-8"?><a/>') as d`,
]

const { signal } = new AbortController()
let database: TestDatabase
let session: Session

beforeAll(async () => {
  database = await createDatabase({
    sql: `create collation loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
      create type mood as enum ('so so', 'ok', '', 'OK');
      create type pair as (a int, b text);
      create type shy as (a int, b int);
      create function shy_text(shy) returns text language sql immutable as $$ select ($1).a::text $$;
      create cast (shy as text) with function shy_text (shy);
      create domain small as bigint;
      create domain padded as bpchar;
      create domain document as xml;
      create extension citext;
      ${oddlyStored.join(';\n')}`,
  })
  session = await openSession({ name: 'x', url: database.url, viaProxy: false }, { purpose: 'test', signal })
})

afterAll(async () => {
  await session?.close()
  await database?.[Symbol.asyncDispose]()
})

async function sum(name: string): Promise<Checksum> {
  const table = (await readTables(session)).find((one) => one.name === name)
  if (table === undefined) throw new Error(`no table ${name}`)
  return await readChecksum(session, table, table.columns)
}

test('Each value of a type, and none, has a checksum of its own, and so has every change of places', async () => {
  for (const [type, some] of Object.entries(values)) {
    await session.run(`begin; set local search_path = public; create table t (a ${type}, k int, b ${type});
      set local search_path = ''`)
    const [table] = (await readTables(session)).filter((one) => one.name === 't')
    if (table === undefined) throw new Error('no table')
    const found = async (rows: string): Promise<string> => {
      await session.run(`truncate public.t; set local search_path = public; insert into t values ${rows}`)
      await session.run(`set local search_path = ''`)
      return (await readChecksum(session, table, table.columns)).value
    }
    const each = ['null', ...some]
    const variants: string[] = []
    for (const [n, value] of each.entries()) {
      const next = each[(n + 1) % each.length] ?? value
      variants.push(`(${value}, 1, null)`)
      if (n > 0) variants.push(`(null, 1, ${value})`)
      variants.push(`(${value}, 1, null), (${next}, 2, null)`, `(${next}, 1, null), (${value}, 2, null)`)
    }
    // Two values make one pair, told from both ends.
    const unique = [...new Set(variants)]
    const sums: string[] = []
    for (const rows of unique) sums.push(await found(rows))
    const same = unique.filter((_, n) => sums.indexOf(sums[n] ?? '') !== n)
    expect(same, type).toEqual([])
    await session.run('rollback')
  }
}, 60_000)

test('What COPY has carried has the checksum it had, however it was stored before', async () => {
  await using other = await openSession({ name: 'x', url: database.url, viaProxy: false }, { purpose: 'test', signal })
  const all = Object.entries(values).map(([type, some], n) => {
    return `create table all_${n} (a ${type}); insert into all_${n} values (null), (${some.join('), (')})`
  })
  await session.run(`set search_path = public; ${all.join('; ')}; set search_path = ''`)
  const names = ['nan', 'flag', 'zero', 'packed', ...all.map((_, n) => `all_${n}`)]
  for (const table of (await readTables(session)).filter((one) => names.includes(one.name))) {
    const { name } = table
    await session.run(`create table public.copied (like public.${name})`)
    const columns = copyColumns(table.columns)
    await pipeline(
      other.client.query(copyStreams.to(`copy public.${name} ${columns} to stdout`)),
      session.client.query(copyStreams.from(`copy public.copied ${columns} from stdin`)),
    )
    const copied = await readChecksum(session, { schema: 'public', name: 'copied' }, table.columns)
    expect(copied, name).toEqual(await readChecksum(session, table, table.columns))
    await session.run('drop table public.copied')
  }
}, 60_000)

test('Generated columns do not count', async () => {
  const kinds = session.serverVersion >= 180_000 ? ['stored', 'virtual'] : ['stored']
  await session.run('create table public.plain (a int, b text); insert into public.plain values (1, $$x$$)')
  for (const kind of kinds) {
    await session.run(`create table public.${kind} (a int, g int generated always as (a + 1) ${kind}, b text);
      insert into public.${kind} values (1, default, 'x')`)
    expect(await sum(kind)).toEqual(await sum('plain'))
  }
})

test('Checksums of slices add up to that of the table', async () => {
  await session.run(`create table public.sliced as select n as a, n::text as b from generate_series(1, 500) n`)
  const [table] = (await readTables(session)).filter((one) => one.name === 'sliced')
  if (table === undefined) throw new Error('no table')
  const slices = await Promise.all(
    ['a <= 100', 'a > 100'].map(async (where) => await readChecksum(session, table, table.columns, where)),
  )
  const [first, second] = slices.map(({ value }) => BigInt(value))
  expect(String((first ?? 0n) + (second ?? 0n))).toBe((await sum('sliced')).value)
})

test('It may run in parallel workers', async () => {
  const [table] = (await readTables(session)).filter((one) => one.name === 'all_1')
  if (table === undefined) throw new Error('no table')
  await session.run(`create table public.big as select n as a, n::numeric as b, 'ok'::public.mood as c, now() as d,
    array[n] as e, '{}'::jsonb as f, gen_random_uuid() as g, '\\x00'::bytea as h from generate_series(1, 1000) n`)
  const alone = await sum('big')
  await session.run(`begin; set local max_parallel_workers_per_gather = 2; set local parallel_setup_cost = 0;
    set local parallel_tuple_cost = 0; set local min_parallel_table_scan_size = 0; set local client_min_messages = notice`)
  const together = await sum('big')
  await session.run('rollback')
  expect(together).toEqual(alone)
})
