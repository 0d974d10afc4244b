import { mappingSchema, type Mapping } from '@multiboard-sync/shared/mapping'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { z } from 'zod'
import { openSession, type Session } from '../src/postgres/session.ts'
import type { CompiledMapping } from '../src/reindex/compiled-mapping.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { findUnfitRows } from '../src/reindex/mapping/find-unfit-rows.ts'
import { MAPPED_SHOP } from './search/mapped-shop.ts'

const deadlineMs = 60_000

const PREVIOUS = new Map([
  ['public', 'prev_1'],
  ['other', 'prev_2'],
])
const PART = { schema: 'public', name: 'Part' }
const CATEGORY = { schema: 'public', name: 'Category' }

let database: TestDatabase
let session: Session

beforeAll(async () => {
  database = await createDatabase({ sql: MAPPED_SHOP })
  const signal = AbortSignal.timeout(deadlineMs)
  session = await openSession({ name: 'source', url: database.url, viaProxy: false }, { purpose: 'test', signal })
})
afterAll(async () => {
  await session[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

type Given = z.input<typeof mappingSchema>
const title = { name: 'title', column: 'displayName', type: 'string' } as const

function mappingOf(given: Partial<Given>): Mapping {
  return mappingSchema.parse({ fields: [title], ...given })
}
const compile = async (given: Partial<Given>) => await compileMapping(session, 'parts', mappingOf(given))

async function documents(sql: string | undefined): Promise<unknown[]> {
  const rows = await session.query<{ document: string }>(`${sql} order by 1`)
  return rows.map(({ document }): unknown => JSON.parse(document))
}

async function findingsOf(given: Partial<Given>): Promise<string[]> {
  const error: unknown = await compile(given).catch((thrown: unknown) => thrown)
  if (!(error instanceof SyncError)) throw new Error('nothing was found')
  expect(error.code).toBe('mapping-invalid')
  return error.details.map((line) => line.replace(/^parts: /, ''))
}

const tableNames = ({ tables }: CompiledMapping) => tables.map(({ schema, name }) => `${schema}.${name}`)

const JOINED: Partial<Given> = {
  sql: `select p.id, p."displayName", c.name as category, n.says -- "Part" and 'public.Part' are not names here
        from public."Part" as p
        join public . "Category" c on c.id = p."categoryId"
        left join other.notes as n on n.part = p.id`,
  depends_on: ['Part', 'Category', 'other.*'],
  fields: [title, { name: 'category', type: 'string' }, { name: 'says', type: 'string', optional: true }],
}

test('a table makes documents, the id first and NULLs left out', async () => {
  const compiled = await compile({
    from: 'Part',
    fields: [
      title,
      { name: 'price', type: 'float', optional: true },
      { name: 'size', type: 'string', facet: true },
      { name: 'specs', type: 'object', optional: true },
      { name: 'specs.w', type: 'int64', optional: true },
    ],
    display_only: ['categoryId'],
    collection: { enable_nested_fields: true },
  })
  expect((await session.query<{ document: string }>(compiled.documentsSql)).map(({ document }) => document)).toEqual([
    '{"id":"a","title":"Foot","price":1.50,"size":"S","specs":{"w": 1},"categoryId":1}',
    '{"id":"b","title":"Toe","size":"M","categoryId":1}',
  ])
  expect(compiled.schema).toEqual({
    fields: [
      { name: 'title', type: 'string' },
      { name: 'price', type: 'float', optional: true },
      { name: 'size', type: 'string', facet: true },
      { name: 'specs', type: 'object', optional: true },
      { name: 'specs.w', type: 'int64', optional: true },
    ],
    enable_nested_fields: true,
  })
  expect(tableNames(compiled)).toEqual(['public.Part'])
  expect(compiled.rows.uniqueId).toBe(true)
  expect(await findUnfitRows(session, compiled)).toEqual([])
})

test('the tables of a mapping are those behind its views, its partitions, and the parents of those', async () => {
  const tables = async (from: string, fields: Given['fields'], more: Partial<Given> = {}) =>
    tableNames(await compile({ from, fields, ...more }))
  const category: Given['fields'] = [{ name: 'category', type: 'string', optional: true }]
  const part: Given['fields'] = [{ name: 'part', type: 'string', optional: true }]
  const orders = ['public.my.orders', 'public.orders_2024', 'public.orders_2025', 'public.orders_2025_a']
  expect(await tables('ViewOfView', category)).toEqual(['public.Category', 'public.Part'])
  expect(await tables('PartCopy', [title])).toEqual(['public.Part'])
  expect(await tables('public."my.orders"', part)).toEqual(orders)
  expect(await tables('orders_2024', part)).toEqual(['public.my.orders', 'public.orders_2024'])
  expect(await tables('orders_2025_a', part)).toEqual([
    'public.my.orders',
    'public.orders_2025',
    'public.orders_2025_a',
  ])
  expect(await tables('log', [{ name: 'says', type: 'string' }])).toEqual(['public.audit', 'public.log'])
  expect(await tables('Part', [title], { depends_on: ['PartView', 'other.no*'] })).toEqual([
    'other.notes',
    'public.Category',
    'public.Part',
  ])
  expect(tableNames(await compile(JOINED))).toEqual(['other.notes', 'public.Category', 'public.Part'])
})

test('a unique index spares the search for ids that two rows have; without one they are counted', async () => {
  const log = await compile({ from: 'log', fields: [{ name: 'says', type: 'string' }] })
  expect(log.rows.uniqueId).toBe(false)
  expect(await findUnfitRows(session, log)).toEqual(['1 row has the id of another row.'])
  const odd = await compile({
    sql: `select id, n from (values (null, 1), ('', 2), ('x', 3), ('x', 4), ('x', null)) as v(id, n)`,
    fields: [{ name: 'n', type: 'int32' }],
  })
  expect(await findUnfitRows(session, odd)).toEqual([
    '2 rows have the id of another row.',
    '1 row has no id.',
    '1 row has an empty id.',
    '1 row has no value for n, which is not optional.',
  ])
})

test('the same documents can be made of the previous tables', async () => {
  const table = await compile({ from: 'Part' })
  expect(await documents(table.documentsSqlOver?.(PREVIOUS, [PART]))).toEqual([
    { id: 'a', title: 'Foot before' },
    { id: 'b', title: 'Toe before' },
  ])
  const joined = await compile(JOINED)
  expect(
    await documents(joined.documentsSqlOver?.(PREVIOUS, [PART, CATEGORY, { schema: 'other', name: 'notes' }])),
  ).toEqual([
    { id: 'a', title: 'Foot before', category: 'Feet before', says: 'note before' },
    { id: 'b', title: 'Toe before', category: 'Feet before' },
  ])
})

test('tables that were not replaced stay those that are live', async () => {
  const joined = await compile(JOINED)
  expect(await documents(joined.documentsSqlOver?.(PREVIOUS, [CATEGORY]))).toEqual([
    { id: 'a', title: 'Foot', category: 'Feet before', says: 'note' },
    { id: 'b', title: 'Toe', category: 'Feet before' },
  ])
})

test('a partitioned table counts as replaced when all its leaves are, and cannot be told when only some are', async () => {
  const orders = await compile({ from: '"my.orders"', fields: [{ name: 'part', type: 'string', optional: true }] })
  const leaf = (name: string) => ({ schema: 'public', name })
  const all = orders.documentsSqlOver?.(PREVIOUS, [leaf('orders_2024'), leaf('orders_2025_a')])
  expect(await documents(all)).toEqual([
    { id: '1', part: 'a before' },
    { id: '2', part: 'a before' },
  ])
  expect(orders.documentsSqlOver?.(PREVIOUS, [leaf('orders_2024')])).toBeUndefined()
  expect(await documents(orders.documentsSqlOver?.(PREVIOUS, [PART]))).toEqual([
    { id: '1', part: 'a' },
    { id: '2', part: 'a' },
  ])
})

test('what cannot be told of previous tables is not tried', async () => {
  const over = async (given: Partial<Given>) => (await compile(given)).documentsSqlOver
  expect(await over({ from: 'PartCopy' })).toBeUndefined()
  expect(await over({ from: 'PartView' })).toBeUndefined()
  const query = (sql: string) => ({ sql, depends_on: ['Part', 'Category', 'PartView'] })
  expect(await over(query('select id, "displayName" from public."PartView"'))).toBeUndefined()
  expect(await over(query(`select id, other.read("displayName") as "displayName" from public."Part"`))).toBeUndefined()
  expect(await over(query(`select id, other.shout("displayName") as "displayName" from public."Part"`))).toBeDefined()
  // Here `public` is an alias, and public."Part" could be a column of it.
  expect(await over(query(`select public.id, public."displayName" from public."Part" as public`))).toBeUndefined()
  expect(await over(query(`select public."Part".id, "Part"."displayName" from public."Part"`))).toBeDefined()
})

test('all findings come at once, each with what to do', async () => {
  expect(
    await findingsOf({
      from: 'public.Part',
      id: 'ID',
      fields: [
        { name: 'displayname', type: 'string' },
        { name: 'price', type: 'int32' },
        { name: 'price', type: 'float', index: false, facet: true },
        { name: 'specs', type: 'object' },
        { name: 'size', type: 'string', range_index: true, locale: 'german' },
        { name: 'categoryId', type: 'int32', stem: true, infix: true },
        { name: 'place', type: 'geopoint' },
        { name: 'spot', type: 'geopoint', columns: ['lat', 'price'], sort: false },
        { name: 'other', type: 'string', columns: ['a', 'b'] },
      ],
      display_only: ['size', 'image', 'id', 'id'],
      collection: { default_sorting_field: 'popularity' },
    }),
  ).toEqual([
    'price: two fields have this name.',
    'display_only: `id` is named twice.',
    'display_only: `size` is a field already, and stored as such.',
    'display_only: `id` is the id of the document; give the column another name in `sql:`.',
    'display_only: `id` is the id of the document; give the column another name in `sql:`.',
    'price: `facet` needs an index: leave `index: false` out.',
    'specs: objects need `enable_nested_fields: true` under `collection:`.',
    'size: `locale` has two letters.',
    'size: `range_index` is for numbers.',
    'categoryId: `infix` is for strings.',
    'categoryId: `stem` is for strings.',
    'spot: a geopoint can always be sorted by.',
    'default_sorting_field: no field is named `popularity`.',
    "id: the rows have no column `ID`. Did you mean `id`? Name the column of the document's id with `id:`.",
    'displayname: the rows have no column `displayname`. Did you mean `displayName`?',
    'price: numeric(10,2) cannot become int32 exactly. Write { type: float } or { type: string, as: text }, or cast it in `sql:` to a numeric(p,s) that all values fit in.',
    'place: a geopoint is made of two columns: write `columns: [latitude, longitude]`.',
    'spot: the rows have no column `lat`.',
    'other: `columns` is for a geopoint; name one `column` for a field of type string.',
    'image: the rows have no column `image`.',
  ])
})

test.each<[string, Partial<Given>, string]>([
  ['no rows', {}, 'write either `from` (a table or view) or `sql` (a query).'],
  ['rows twice', { from: 'Part', sql: 'select 1' }, 'write either `from` (a table or view) or `sql` (a query).'],
  [
    'a missing table',
    { from: 'part' },
    'from: no table or view is called part; names are case-sensitive. Did you mean `public.Part`?',
  ],
  ['a pattern', { from: 'public.P*' }, 'from: name one table or view, without * and ?.'],
  [
    'a missing dependency',
    { from: 'Part', depends_on: ['Categories'] },
    'depends_on: no table or view is called Categories; names are case-sensitive. Did you mean `public.Category`?',
  ],
  [
    'a name without its schema',
    { sql: 'select id,\n  x from "Part"' },
    'sql: line 2, column 10: PostgreSQL reported undefined_table (42P01) while looking at the rows of a search mapping: relation "Part" does not exist.',
  ],
  [
    'a table that is not there',
    { sql: 'select id from public.nothing' },
    'sql: line 1, column 16: PostgreSQL reported undefined_table (42P01) while looking at the rows of a search mapping: relation "public.nothing" does not exist.',
  ],
  [
    'a slip of the pen',
    { sql: "select 'ü🧩',\n selct from public" },
    'sql: line 2, column 13: PostgreSQL reported undefined_table (42P01) while looking at the rows of a search mapping: relation "public" does not exist.',
  ],
  [
    'two columns of one name',
    { sql: 'select 1 as id, 2 as id, 3 as "displayName"' },
    'sql: two columns are named `id`; name one with `as`.',
  ],
  [
    'a table that it does not depend on',
    { sql: 'select id, "displayName" from public."Part"' },
    'sql: the query reads public.Part: add it to `depends_on`, so that its changes reach the documents.',
  ],
  [
    'a view whose tables it names not all',
    { sql: 'select id, "displayName" from public."PartView"', depends_on: ['Part'] },
    'sql: the query reads public.PartView: add it to `depends_on`, so that its changes reach the documents.',
  ],
  [
    'two statements',
    { sql: 'select 1 as id; drop table public."Part"' },
    'sql: line 1, column 15: one query without a semicolon, please.',
  ],
  [
    'a way out of the brackets',
    { sql: 'select 1 as id) as r; drop table public.log; select (1' },
    'sql: line 1, column 15: this bracket closes none.',
  ],
  [
    'a sorting field that may be missing',
    { from: 'Part', collection: { default_sorting_field: 'title' }, fields: [{ ...title, optional: true }] },
    'default_sorting_field: `title` is optional; every document must have it.',
  ],
  [
    'a sorting field that is text',
    { from: 'Part', collection: { default_sorting_field: 'title' } },
    'default_sorting_field: `title` must be a number, or a string with `sort: true`.',
  ],
  [
    'a part without its object',
    { from: 'Part', collection: { enable_nested_fields: true }, fields: [{ name: 'specs.w', type: 'int64' }] },
    'specs.w: a part of an object needs the object: declare a field `specs`.',
  ],
  [
    'a part with a column',
    {
      from: 'Part',
      collection: { enable_nested_fields: true },
      fields: [{ name: 'specs.w', column: 'id', type: 'string' }],
    },
    'specs.w: a name with a dot is a part of an object and has no column of its own.',
  ],
  ['an id that is no text', { from: 'Part', id: 'specs' }, 'id: jsonb cannot be an id; cast it to text in `sql:`.'],
])('%s is a finding', async (_, given, finding) => {
  expect(await findingsOf(given)).toContain(finding)
})

test('a query of a view depends on the view, or on all its tables', async () => {
  const sql = 'select id, "displayName" from public."PartView"'
  for (const depends_on of [['PartView'], ['Part', 'Category'], ['public.*']]) {
    expect(tableNames(await compile({ sql, depends_on }))).toContain('public.Category')
  }
})

test('a query that writes is refused by the server itself', async () => {
  const [finding] = await findingsOf({
    sql: 'with gone as (delete from public.log returning id) select id from gone',
    depends_on: ['log'],
  })
  expect(finding).toContain('(0A000)')
  expect(await session.query('select from public.log')).toHaveLength(2)
})

test('the hash is the same as long as the documents are', async () => {
  const hash = async (given: Partial<Given>) => (await compile({ from: 'Part', ...given })).sha256
  const first = await hash({})
  expect(first).toMatch(/^[0-9a-f]{64}$/)
  expect(await hash({ keep: 3, depends_on: ['Category'], verify: { min_count: 7 }, adopt: true })).toBe(first)
  expect(await hash({ fields: [{ type: 'string', column: 'displayName', name: 'title' }] })).toBe(first)
  const others = [
    await hash({ fields: [{ ...title, name: 'name' }] }),
    await hash({ fields: [{ ...title, facet: true }] }),
    await hash({ fields: [{ ...title, column: 'id' }] }),
    await hash({ display_only: ['price'] }),
    await hash({ id: 'displayName' }),
    await hash({ collection: { symbols_to_index: ['+'] } }),
    await hash({ from: 'PartCopy' }),
  ]
  await session.run(`drop view public."ViewOfView", public."PartView"; drop materialized view public."PartCopy";
    alter table public."Part" alter column "displayName" type varchar(90)`)
  others.push(await hash({}))
  expect(new Set([first, ...others]).size).toBe(others.length + 1)
})

test('a table of 400 columns makes documents as wide, with and without values', async () => {
  const columns = Array.from({ length: 400 }, (_, index) => `Column "${index}"`)
  await using wide = await createDatabase({
    sql: `create table "W""ide" (id int primary key, ${columns.map((name) => `"${name.replaceAll('"', '""')}" int`).join(', ')});
          insert into "W""ide" (id) values (1);
          insert into "W""ide" (id, "Column ""399""", "Column ""150""") values (2, 399, 150);
          insert into "W""ide" values (3, ${columns.map((_, index) => index).join(', ')})`,
  })
  const signal = AbortSignal.timeout(deadlineMs)
  await using on = await openSession({ name: 'wide', url: wide.url, viaProxy: false }, { purpose: 'test', signal })
  const compiled = await compileMapping(
    on,
    'wide',
    mappingOf({
      from: 'public."W""ide"',
      fields: columns.map((column, index) => ({ name: `c${index}`, column, type: 'int32', optional: true })),
    }),
  )
  const rows = await on.query<{ document: string }>(`${compiled.documentsSql} order by 1`)
  expect(rows.map(({ document }): unknown => JSON.parse(document))).toEqual([
    { id: '1' },
    { id: '2', c150: 150, c399: 399 },
    { id: '3', ...Object.fromEntries(columns.map((_, index) => [`c${index}`, index])) },
  ])
  expect(await findUnfitRows(on, compiled)).toEqual([])
})
