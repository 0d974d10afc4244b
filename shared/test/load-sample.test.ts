import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

import { expect, test } from 'vitest'

import { loadSample, sampleFiles } from '../testing/load-sample.ts'
import { scanSql } from '../testing/sample/scan-sql.ts'
import { createDatabase, type TestDatabase } from '../testing/test-database.ts'

async function load(database: TestDatabase, text: string) {
  const folder = await mkdtemp(join(tmpdir(), 'sample-'))
  try {
    const file = join(folder, 'dump.sql')
    await writeFile(file, text)
    return await loadSample(database.url, file)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const samples = sampleFiles()
if (samples === undefined) console.log('skipped: no folder with sample databases beside the repository')

/** Base tables and their rows, as the files' own COPY blocks and INSERT statements have them. */
const expected: Record<string, { tables: number; rows: number }> = {
  'chinook-serial.sql': { tables: 11, rows: 15_607 },
  'netflix.sql': { tables: 1, rows: 8807 },
  'northwind.sql': { tables: 14, rows: 3362 },
  'pagila-neon.sql': { tables: 21, rows: 46_273 },
}

test.skipIf(samples === undefined).each(samples?.files ?? [])('%s loads', async (file) => {
  await using database = await createDatabase()
  const { bytes } = await loadSample(database.url, file)
  expect(bytes).toBeGreaterThan(100_000)
  const client = await database.client()
  const counted = await client.query(`
    select count(*)::int as tables,
           sum((xpath('/row/n/text()', query_to_xml(format('select count(*) as n from %s', c.oid::regclass), false, true, '')))[1]::text::int)::int as rows
    from pg_class as c
    where c.relkind = 'r' and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')`)
  expect(counted.rows).toEqual([expected[basename(file)]])
})

test('Rows of COPY blocks arrive as they are, whatever they hold', async () => {
  await using database = await createDatabase()
  const loaded = await load(
    database,
    [
      '\uFEFF/* begins',
      'with */ -- this',
      '\\restrict abc',
      'DROP DATABASE IF EXISTS other;',
      'CREATE DATABASE other',
      "  WITH ENCODING 'UTF8';",
      '\\connect other',
      'create table t (n int, v text);',
      'COPY t (n, v) FROM stdin;',
      '1\ta\\tb\\\\c\u2028d',
      '2\t\\N',
      '3\t',
      '4\t\\\\.',
      '5\tCOPY t FROM stdin;',
      '\\.',
      '',
      "comment on table t is 'one",
      '\\c two',
      'COPY t (n) FROM stdin;',
      "three';",
      'create function f() returns int language sql as $x$',
      "select 1; -- it's",
      'select 2 /* $x */',
      '$x$;',
      'COPY t FROM stdin;',
      '6\tlast',
      '\\.',
      '\\unrestrict abc',
    ].join('\n'),
  )
  expect(loaded).toMatchObject({ copies: 2, rows: 6 })
  const client = await database.client()
  const { rows } = await client.query({
    text: `select v from t order by n`,
    rowMode: 'array',
  })
  expect(rows.flat()).toEqual(['a\tb\\c\u2028d', null, '', '\\.', 'COPY t FROM stdin;', 'last'])
  const about = await client.query(`select obj_description('t'::regclass) as comment, f()`)
  expect(about.rows).toEqual([{ comment: 'one\n\\c two\nCOPY t (n) FROM stdin;\nthree', f: 2 }])
})

test('Many megabytes of INSERT statements are sent in pieces, in order', async () => {
  await using database = await createDatabase()
  const pad = "x''; -- ".repeat(50)
  const inserts = Array.from({ length: 6000 }, (_, n) => `INSERT INTO t VALUES (${n}, '${pad}\nINSERT INTO t');\n`)
  await load(database, `create table t (n int, v text, at bigint default txid_current());\n${inserts.join('')}`)
  const client = await database.client()
  const { rows } = await client.query('select count(*)::int, count(distinct at)::int as queries, max(n) from t')
  expect(rows).toEqual([{ count: 6000, queries: 3, max: 5999 }])
})

test('A file that ends in the middle of a COPY block, and one that asks psql for more, are refused', async () => {
  await using database = await createDatabase()
  await expect(load(database, 'create table t (n int);\nCOPY t FROM stdin;\n1\n')).rejects.toThrow(
    'the file ends inside of COPY t',
  )
  await expect(load(database, '\\i other.sql\n')).rejects.toThrow("psql's \\i cannot be followed here")
  await expect(load(database, 'create table u (n int);\nCOPY u FROM stdin;\none\n\\.\n')).rejects.toMatchObject({
    code: '22P02',
  })
})

test.each([
  ['select 1; -- ; no', undefined, undefined, true, false],
  ["select 'it''s", undefined, "'", false, false],
  ["s'; select 1", "'", undefined, false, false],
  ["select e'\\';", undefined, "e'", false, false],
  ["select 'a\\';", undefined, undefined, true, false],
  ["\\';';", "e'", undefined, true, false],
  ['as $$ begin', undefined, '$$', false, false],
  ['as $a$ $$ $b$ $a$;', undefined, undefined, true, false],
  ['select a$1$b, $1;', undefined, undefined, true, false],
  ['/* one /* two */', undefined, '/*1', false, true],
  ['*/', '/*1', undefined, false, true],
  ['select "a;--', undefined, '"', false, false],
  ['-- only a comment', undefined, undefined, false, true],
  ['   ', undefined, undefined, false, true],
] as const)('The scanner reads %j, begun inside %j, rightly', (line, begins, inside, endsStatement, blank) => {
  expect(scanSql(line, begins)).toEqual({ inside, endsStatement, blank })
})
