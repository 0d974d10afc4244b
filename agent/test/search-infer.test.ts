import { collectionsSchema, type Mapping } from '@multiboard-sync/shared/mapping'
import { loadSample, sampleFiles } from '@multiboard-sync/shared/testing/load-sample'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { basename } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { readTables } from '../src/postgres/catalog.ts'
import { quoteTable } from '../src/postgres/quote.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { findUnfitRows } from '../src/reindex/mapping/find-unfit-rows.ts'
import { inferMapping } from '../src/reindex/mapping/infer-mapping.ts'

const deadlineMs = 60_000

async function sessionOn(url: string): Promise<Session> {
  const signal = AbortSignal.timeout(deadlineMs)
  return await openSession({ name: 'source', url, viaProxy: false }, { purpose: 'test', signal })
}

/** Reads what was inferred as agent.yaml would be read, and compiles it against the same database. */
async function inferred(session: Session, table: string) {
  const text = await inferMapping(session, table)
  const { collections } = z.strictObject({ collections: collectionsSchema }).parse(parse(text))
  const entries = Object.entries(collections)
  const [alias, mapping] = entries[0] ?? []
  if (alias === undefined || mapping === undefined) throw new Error('nothing was inferred')
  expect(entries).toHaveLength(1)
  return { text, alias, mapping, compiled: await compileMapping(session, alias, mapping) }
}

const fieldsOf = ({ fields }: Mapping) => fields.map(({ name, type }) => `${name}: ${type}`)

test('a first mapping has a field for every column that can be one, and says why the others are none', async () => {
  await using database = await createDatabase({
    sql: `
      create type "Size" as enum ('S', 'M');
      create table "OrderLine" ("lineId" int8 primary key, "createdAt" timestamptz not null, "Size" "Size" not null,
        sizes "Size"[], price numeric(10,2) not null, weight numeric, stock int not null, tags text[] not null default '{}',
        specs jsonb, notes jsonb[], photo bytea, cost money, search tsvector, born date, open bool, place point, "on" text,
        "naïve ""name"": x" text, "naive _name_: x" text, "1st" int, id uuid, popularity int not null, "#" text);
      insert into "OrderLine" ("lineId", "createdAt", "Size", price, stock, popularity, "naïve ""name"": x", "naive _name_: x", id)
      values (1, now(), 'S', 1.5, 2, 3, 'a', 'b', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')`,
  })
  await using session = await sessionOn(database.url)
  const { text, alias, mapping, compiled } = await inferred(session, 'OrderLine')
  expect(alias).toBe('order-line')
  expect(mapping).toMatchObject({ from: 'public.OrderLine', id: 'lineId' })
  expect(mapping.collection).toEqual({ default_sorting_field: 'popularity', enable_nested_fields: true })
  expect(fieldsOf(mapping)).toEqual([
    'createdAt: int64',
    'Size: string',
    'sizes: string[]',
    'price: float',
    'weight: string',
    'stock: int32',
    'tags: string[]',
    'specs: object',
    'notes: object[]',
    'born: int64',
    'open: bool',
    'place: string',
    'on: string',
    'nai_ve_name_x: string',
    'naive__name__x: string',
    '_1st: int32',
    'id_2: string',
    'popularity: int32',
    '_: string',
  ])
  expect(mapping.fields.filter(({ facet }) => facet).map(({ name }) => name)).toEqual(['Size', 'sizes'])
  expect(mapping.fields.filter(({ optional }) => !optional).map(({ name }) => name)).toEqual([
    'createdAt',
    'Size',
    'price',
    'stock',
    'tags',
    'popularity',
  ])
  expect(text).toContain('    #   photo (bytea): write encode(')
  expect(text).toContain('    #   cost (money): cast it to numeric(15,2)')
  expect(text).toContain('    #   search (tsvector): map the text that it was made of.')
  const rows = await session.query<{ document: string }>(compiled.documentsSql)
  expect(rows.map(({ document }): unknown => JSON.parse(document))).toMatchObject([
    { id: '1', Size: 'S', price: 1.5, nai_ve_name_x: 'a', id_2: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' },
  ])
  expect(await findUnfitRows(session, compiled)).toEqual([])
})

test('a key of two columns becomes one id through a query, whatever the names are', async () => {
  await using database = await createDatabase({
    sql: `
      create schema "my ""schema""";
      create table "my ""schema""".membership ("user" text, "group.id" int, "document_id" text, since date, primary key ("user", "group.id"));
      insert into "my ""schema""".membership values ('a', 1), ('a', 2), ('b', 1);
      create table "line
break" (a int, b int, primary key (a, b));
      insert into "line
break" values (1, 2)`,
  })
  await using session = await sessionOn(database.url)
  const { text, mapping, compiled } = await inferred(session, '"my ""schema""".membership')
  expect(text).toContain('The key has 2 columns and a document one id')
  expect(mapping.from).toBeUndefined()
  const rows = await session.query<{ id: string }>(`${compiled.documentsSql} order by 1`)
  expect(rows.map(({ id }) => id)).toEqual(['a/1', 'a/2', 'b/1'])
  expect(await findUnfitRows(session, compiled)).toEqual([])
  expect(compiled.documentsSqlOver).toBeDefined()
  const broken = await inferred(session, '"line\nbreak"')
  expect(await session.query(broken.compiled.documentsSql)).toEqual([{ id: '1/2', document: expect.any(String) }])
})

test('without a key a column is proposed, and the guess is called one', async () => {
  await using database = await createDatabase({
    sql: `
      create table "Null" (says text, "ID" int);
      create table uniquely (says text unique, code char(3) unique not null);
      create table nothing (doc jsonb);
      create materialized view unfilled as select * from uniquely with no data;
      create table other.nothing (doc jsonb)`.replace('create table other', 'create schema other; create table other'),
  })
  await using session = await sessionOn(database.url)
  const guess = await inferred(session, 'public."Null"')
  expect(guess.mapping.id).toBe('ID')
  expect(guess.alias).toBe('null')
  expect(guess.text).toContain('# There is no key to take the id from')
  const unique = await inferred(session, 'uniquely')
  expect(unique.mapping.id).toBe('code')
  expect(unique.text).not.toContain('There is no key')
  await expect(inferMapping(session, 'nothing')).rejects.toMatchObject({ code: 'mapping-invalid' })
  await expect(inferMapping(session, 'uniqely')).rejects.toMatchObject({
    code: 'table-unknown',
    hint: 'Did you mean `public.uniquely`?',
  })
  await expect(inferMapping(session, 'unfilled')).rejects.toMatchObject({
    code: 'mapping-invalid',
    details: ['the materialized view public.unfilled was never filled: refresh it.'],
  })
  await expect(inferMapping(session, '*.nothing')).rejects.toMatchObject({ code: 'table-unknown' })
})

/** Those with the most kinds of tables and types. */
const SAMPLES = ['northwind.sql', 'pagila-neon.sql']
const samples = sampleFiles()?.files.filter((file) => SAMPLES.includes(basename(file)))
if (samples === undefined) console.info('Skipped: there are no sample databases beside the repository.')

test.skipIf(samples === undefined)(
  'every table of a sample database gets a mapping whose documents equal its rows',
  async () => {
    for (const file of samples ?? []) {
      await using database = await createDatabase()
      await loadSample(database.url, file)
      await using session = await sessionOn(database.url)
      for (const table of await readTables(session)) {
        if (table.kind === 'm') await session.run(`refresh materialized view ${quoteTable(table)}`)
        const name = `${basename(file)} ${formatTableName(table)}`
        if (table.columns.length === 0) continue
        const { mapping, compiled } = await inferred(session, formatTableName(table))
        const unfit = await findUnfitRows(session, compiled)
        const [row] = await session.query<Record<'documents' | 'rows' | 'ids' | 'texts' | 'other', string>>(
          countsSql(mapping, compiled.documentsSql, compiled.rows.source),
        )
        expect(row?.documents, name).toBe(row?.rows)
        expect(row?.other, name).toBe('0')
        // Ids that two rows have were found as unfit already.
        expect(unfit.length === 0 ? row?.ids : row?.rows, name).toBe(row?.rows)
      }
    }
  },
)

/** Compares what can be compared without the code under test: strings and numbers with the columns they are made of. */
function countsSql(mapping: Mapping, documentsSql: string, source: string): string {
  const plain = mapping.fields.filter(
    ({ type, as }) => as === undefined && /^(string|int32|int64|float|bool)$/.test(type),
  )
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`
  const differences = plain.map(
    ({ name, column = name }) => `(document->>'${name}') is distinct from r.${quoted(column)}::text`,
  )
  const id = mapping.sql === undefined ? `r.${quoted(mapping.id)}::text` : `r.${quoted(mapping.id)}`
  return `
    with d as (select id, document::jsonb as document from (${documentsSql}) x)
    select (select count(*) from d) as documents, (select count(*) from ${source}) as rows,
           (select count(distinct id) from d where id = document->>'id') as ids,
           (select count(*) from d join ${source} on ${id} = d.id
            where ${differences.length === 0 ? 'false' : `${differences.join(' or ')}`}) as other`
}
