import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { to as copyTo } from 'pg-copy-streams'
import { expect, it } from 'vitest'
import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { POST_DATA, PRE_DATA, SEQUENCES } from '../src/archive/object-names.ts'
import { quoteIdent, quoteTable } from '../src/postgres/quote.ts'
import { BUCKET, ID, column, deadline, facts, startBench, writer } from './archive/setup.ts'

const TABLES = [
  { schema: 'public', name: 'Component', columns: [column('id'), column('name'), column('twice', 's')] },
  { schema: 'we/ird', name: 'a "b"\nc; \\d :x', columns: [column('x\ny'), column('$1')] },
  { schema: 'public', name: 'nothing', columns: [] },
  { schema: 'public', name: 'empty', columns: [column('x')] },
]

const DEFINITIONS = `
  create table public."Component" (id int, name text, twice int generated always as (id * 2) stored);
  create schema "we/ird";
  create table "we/ird"."a ""b""\nc; \\d :x" ("x\ny" text, "$1" bytea);
  create table public.nothing ();
  create table public.empty (x text);
`
const ROWS = `
  insert into public."Component" values (1, ''), (2, null), (3, E'\\\\.'), (4, '\\.'), (5, E'tab\\there\\nline\\r\\\\'), (6, '\\N'), (7, '界'), (8, ':x ; \\d');
  insert into public."Component" select n, repeat('x', 1000) from generate_series(9, 5000) as n;
  insert into "we/ird"."a ""b""\nc; \\d :x" values (E'\\n', '\\x00ff5c0a'), ('\\.', null);
  insert into public.nothing select from generate_series(1, 3);
`

const isThere = (command: string): boolean => spawnSync(command, ['--version']).status === 0

async function readAll(database: TestDatabase): Promise<string[][]> {
  const client = await database.client()
  const texts: string[][] = []
  for (const table of TABLES) {
    const sql = `select t::text as text from ${quoteTable(table)} t order by 1`
    const { rows } = await client.query<{ text: string }>(sql)
    texts.push(rows.map(({ text }) => text))
  }
  return texts
}

/** `cat … | gunzip | psql -1` in a shell; gives the exit code and what psql complained of. */
async function restoreWithPsql(
  database: TestDatabase,
  objects: Buffer[],
  unpack: string,
): Promise<{ code: number; errors: string }> {
  const child = spawn('sh', ['-c', `${unpack} | psql -X -q -v ON_ERROR_STOP=1 -1 "$0"`, database.url], {
    signal: deadline(),
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  child.stdout.resume()
  const exit = once(child, 'close')
  // psql that stops at an error reads no further; its exit code says so.
  await pipeline(Readable.from(objects), child.stdin).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  })
  const [code] = (await exit) as [number]
  return { code, errors }
}

const recipes = [
  { compression: 'gzip', unpack: 'gunzip', extension: '.sql.gz' },
  { compression: 'zstd', unpack: 'zstd -dc', extension: '.sql.zst' },
] as const
const missing = ['psql', 'gunzip', 'zstd'].filter((command) => !isThere(command))

it.for(recipes)('psql and $unpack alone restore an archive, in one transaction', async (recipe, { skip }) => {
  const { compression, unpack, extension } = recipe
  const lacking = missing.filter((command) => command === 'psql' || unpack.startsWith(command))
  skip(lacking.length > 0, `not on this machine: ${lacking.join(', ')}`)
  await using bench = await startBench()
  await using source = await createDatabase({ sql: DEFINITIONS + ROWS })
  await using target = await createDatabase()
  const archive = writer(bench, ID, 'export', undefined, { compression, level: 1 })
  const client = await source.client()
  const tables: ArchivedTable[] = []
  for (const table of TABLES) {
    const columns = table.columns.filter(({ generated }) => generated === '').map(({ name }) => quoteIdent(name))
    const list = columns.length === 0 ? '' : ` (${columns.join(', ')})`
    const rows = client.query(copyTo(`copy ${quoteTable(table)}${list} to stdout`))
    const part = await archive.putPart(table, 0, rows, {
      columns: table.columns,
      expectedBytes: 0,
      signal: deadline(),
    })
    tables.push({ ...table, rows: part.rows, bytes: part.bytes, parts: [part] })
  }
  await archive.putSql(PRE_DATA, DEFINITIONS, deadline())
  await archive.putSql(SEQUENCES, 'create sequence public.s; select setval($$public.s$$, 42);', deadline())
  await archive.putSql(POST_DATA, 'create index on public."Component" (name);', deadline())
  await archive.finish({ ...facts, tables }, deadline())
  expect(tables.map(({ rows }) => rows)).toEqual([5000, 2, 3, 0])

  const keys = (await bench.server.keys(BUCKET, archive.folder)).filter((key) => key.endsWith(extension))
  const objects = await Promise.all(keys.map(async (key) => await bench.server.read(BUCKET, key)))
  expect(await restoreWithPsql(target, objects, unpack)).toEqual({ code: 0, errors: '' })
  expect(await readAll(target)).toEqual(await readAll(source))

  // A second time everything exists already: psql stops, and the database is as before.
  const again = await restoreWithPsql(target, objects, unpack)
  expect(again.code).not.toBe(0)
  expect(again.errors).toContain('already exists')
  expect(await readAll(target)).toEqual(await readAll(source))
})

if (missing.length > 0) console.log(`some are skipped: not on this machine: ${missing.join(', ')}`)
