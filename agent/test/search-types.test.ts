import { mappingSchema } from '@multiboard-sync/shared/mapping'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openSession, type Session } from '../src/postgres/session.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { findUnfitRows } from '../src/reindex/mapping/find-unfit-rows.ts'
import { CASES, REFUSED, UNFIT } from './search/type-cases.ts'

const deadlineMs = 60_000

let database: TestDatabase
let session: Session

beforeAll(async () => {
  database = await createDatabase({
    sql: `
      create type public."Odd ""Color""" as enum ('red', 'dark "blue"', E'a\\nb', 'ünïcode', '');
      create domain public.positive as numeric(9,2) check (value > 0);
      create domain public.twice as public.positive;
      create domain public.label as text;
      create type public.address as (city text, zip int, "at ""x""" timestamptz, share numeric);
      create type public.span as range (subtype = numeric);`,
  })
  const signal = AbortSignal.timeout(deadlineMs)
  session = await openSession({ name: 'source', url: database.url, viaProxy: false }, { purpose: 'test', signal })
})
afterAll(async () => {
  await session[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

/** More than a function takes arguments, so all cases in one row also show that documents of any width are written. */
test('every value of every type becomes the JSON that the table promises', async () => {
  const compiled = await compileMapping(
    session,
    'types',
    mappingSchema.parse({
      sql: `select 'x' as id, ${CASES.map(([value], index) => `${value} as c${index}`).join(',\n')} -- the end`,
      fields: CASES.map(([, field], index) => ({ ...field, name: `c${index}`, optional: true })),
      collection: { enable_nested_fields: true },
    }),
  )
  const [row] = await session.query<{ id: string; document: string; keys: string[] }>(
    `select id, document, array(select json_object_keys(document::json)) as keys from (${compiled.documentsSql}) d`,
  )
  expect(row?.document).not.toMatch(/[\n\r]/)
  expect(row?.keys).toEqual(['id', ...CASES.flatMap(([, , json], index) => (json === undefined ? [] : [`c${index}`]))])
  const texts = await session.query<{ key: string; json: string }>(
    `select key, value::text as json from (${compiled.documentsSql}) d, json_each(document::json)`,
  )
  const found = new Map(texts.map(({ key, json }) => [key, json]))
  expect(CASES.map(([value, field], index) => [value, field, found.get(`c${index}`)])).toEqual(CASES)
  expect(await findUnfitRows(session, compiled)).toEqual([])
})

test.each(UNFIT)('rows with %s as %o are told of before', async (value, field, says) => {
  const compiled = await compileMapping(
    session,
    'types',
    mappingSchema.parse({
      sql: `select n as id, ${value} as c from pg_catalog.generate_series(1, 3) as n`,
      fields: [{ ...field, name: 'c' }],
      collection: { enable_nested_fields: true },
    }),
  )
  expect(await findUnfitRows(session, compiled)).toEqual(says === undefined ? [] : [`3 rows ${says}.`])
})

test.each(REFUSED)('%s as %o is refused with what to write instead', async (value, field, hint) => {
  const mapping = mappingSchema.parse({
    sql: `select 1 as id, ${value} as c`,
    fields: [{ ...field, name: 'c' }],
    collection: { enable_nested_fields: true },
  })
  const error: unknown = await compileMapping(session, 'types', mapping).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(SyncError)
  expect(error).toMatchObject({ code: 'mapping-invalid', details: [expect.stringContaining(hint)] })
})

test('what is only stored keeps its natural JSON, and numbers beyond a double become strings', async () => {
  const values: [value: string, json: string | undefined][] = [
    ['1.50::numeric(15,2)', '1.50'],
    ['1.50::numeric', '"1.50"'],
    ['array[1.5]::numeric[]', '["1.5"]'],
    ['9223372036854775807::int8', '9223372036854775807'],
    ["'NaN'::float8", '"NaN"'],
    ["timestamptz '2020-01-01 00:00+01'", '"2019-12-31T23:00:00+00:00"'],
    [`E'{"a":\\n1, "b": null}'::json`, '{"a": 1}'],
    ["'ab'::char(4)", '"ab"'],
    [`array['a',null]`, '["a",null]'],
    ['null::int4', undefined],
    ["'(1,2)'::point", '"(1,2)"'],
  ]
  const compiled = await compileMapping(
    session,
    'types',
    mappingSchema.parse({
      sql: `select 'x' as id, 1 as n, ${values.map(([value], index) => `${value} as "d ""${index}"`).join(', ')}`,
      fields: [{ name: 'n', type: 'int32' }],
      display_only: values.map((_, index) => `d "${index}`),
    }),
  )
  expect(compiled.schema.fields.map(({ name }) => name)).toEqual(['n'])
  const texts = await session.query<{ key: string; json: string }>(
    `select key, value::text as json from (${compiled.documentsSql}) d, json_each(document::json)`,
  )
  const found = new Map(texts.map(({ key, json }) => [key, json]))
  expect(values.map(([value], index) => [value, found.get(`d "${index}`)])).toEqual(values)
  expect(await findUnfitRows(session, compiled)).toEqual(['1 row has a null among the elements of an array in d "8.'])
})

test('a geopoint is made of two columns and stays within the globe', async () => {
  const points = mappingSchema.parse({
    sql: `select n as id, lat, lng
          from (values (1, 52.5, 13.4::float8), (2, null, 1), (3, 90.000001, 0), (4, 0, -181), (5, -90, 180)) as v(n, lat, lng)`,
    fields: [{ name: 'place', type: 'geopoint', columns: ['lat', 'lng'], optional: true, approximate: true }],
  })
  const compiled = await compileMapping(session, 'points', points)
  const documents = await session.query<{ document: string }>(`${compiled.documentsSql} order by 1`)
  expect(documents.map(({ document }) => document)).toEqual([
    '{"id":"1","place":[52.5,13.4]}',
    '{"id":"2"}',
    '{"id":"3","place":[90.000001,0]}',
    '{"id":"4","place":[0,-181]}',
    '{"id":"5","place":[-90,180]}',
  ])
  expect(await findUnfitRows(session, compiled)).toEqual([
    '1 row has a latitude beyond 90 degrees in place.',
    '1 row has a longitude beyond 180 degrees in place.',
  ])
})

test('times become whole seconds and milliseconds, rounded down, to the microsecond exactly', async () => {
  const compiled = await compileMapping(
    session,
    'times',
    mappingSchema.parse({
      // Around every whole second and millisecond of moments that a fixed seed gives, from 1653 to 2286.
      sql: `select us as id, timestamptz '1970-01-01 00:00:00+00' + us / 1000000 * interval '1 second'
                     + us % 1000000 * interval '1 microsecond' as t
            from pg_catalog.generate_series(1, 3000) as n
            cross join lateral (values (-1), (0), (1), (-500), (999)) as d(near)
            cross join lateral (select ((pg_catalog.hashtextextended(n::text, 1) % 10000000000) * (case n % 2 when 0 then 1000000 else 1000 end) + near) as us) as u`,
      fields: [
        { name: 's', column: 't', type: 'int64', as: 'epoch_s' },
        { name: 'ms', column: 't', type: 'int64', as: 'epoch_ms' },
      ],
    }),
  )
  const [row] = await session.query<{ all: string; s: string; ms: string }>(`
    select count(*) as all, count(*) filter (where (j->>'s')::int8 = floor(id::numeric / 1000000)) as s,
           count(*) filter (where (j->>'ms')::int8 = floor(id::numeric / 1000)) as ms
    from (${compiled.documentsSql}) d, lateral (select document::json as j) as x`)
  expect(row).toEqual({ all: '15000', s: '15000', ms: '15000' })
})

test('an id is the text of its column, whatever type it has', async () => {
  const ids: [value: string, id: string][] = [
    ['9223372036854775807::int8', '9223372036854775807'],
    ["E'a\"b\\n`c'::text", 'a"b\n`c'],
    ["'ab'::char(4)", 'ab'],
    ["'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    ["'1.2.3.4'::inet", '1.2.3.4'],
    ["date '2020-01-02'", '2020-01-02'],
    ["timestamptz '2020-01-02 03:04+01'", '2020-01-02T02:04:00+00:00'],
    ['1.50::numeric', '1.50'],
    [`'red'::public."Odd ""Color"""`, 'red'],
  ]
  for (const [value, id] of ids) {
    const mapping = mappingSchema.parse({
      sql: `select ${value} as key, 1 as n`,
      id: 'key',
      fields: [{ name: 'n', type: 'int32' }],
    })
    const compiled = await compileMapping(session, 'ids', mapping)
    expect(await session.query(compiled.documentsSql), value).toEqual([
      { id, document: `{"id":${JSON.stringify(id)},"n":1}` },
    ])
  }
})
