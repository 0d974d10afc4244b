import { mappingSchema } from '@multiboard-sync/shared/mapping'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { z } from 'zod'
import { openSession, type Session } from '../src/postgres/session.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { findUnfitRows } from '../src/reindex/mapping/find-unfit-rows.ts'

/*
 * The search server gives a part of an object that the schema does not name the type of the first value that it meets, and
 * refuses every later document with another. What is found here would otherwise be found when the database has changed.
 */

const deadlineMs = 60_000

let database: TestDatabase
let session: Session

beforeAll(async () => {
  database = await createDatabase()
  const signal = AbortSignal.timeout(deadlineMs)
  session = await openSession({ name: 'source', url: database.url, viaProxy: false }, { purpose: 'test', signal })
})
afterAll(async () => {
  await session[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

type Fields = z.input<typeof mappingSchema>['fields']

async function unfit(documents: (object | null)[], parts: Fields = [], specs: Partial<Fields[number]> = {}) {
  const values = documents.map((one, index) => `(${index}, '${JSON.stringify(one)}'::jsonb)`)
  return await unfitOf(`select id, specs from (values ${values.join(', ')}) as v(id, specs)`, parts, specs)
}

async function unfitOf(sql: string, parts: Fields = [], specs: Partial<Fields[number]> = {}) {
  const compiled = await compileMapping(
    session,
    'parts',
    mappingSchema.parse({
      sql,
      fields: [{ name: 'specs', type: 'object', optional: true, ...specs }, ...parts],
      collection: { enable_nested_fields: true },
    }),
  )
  return await findUnfitRows(session, compiled)
}

test('parts with one type each are fit, however deep they lie', async () => {
  const deep = { a: 1, b: { c: [1, 2], d: [{ e: 'x' }, { e: 'y', f: true }] }, g: null, h: [] }
  expect(await unfit([deep, { a: 3_000_000_000, b: { c: [], d: [{}] } }, null, {}])).toEqual([])
})

test('whole and broken numbers in one part are told of, and declared as float they are fit', async () => {
  const rows = [{ w: 1, x: { y: [1] } }, { w: 1.5, x: { y: [0.5, 2] } }, { w: 2 }]
  expect(await unfit(rows)).toEqual([
    'specs.w has values of several types (2 values int64, 1 value float), and the server takes only one: declare { name: specs.w, type: float, optional: true }.',
    'specs.x.y has values of several types (2 values int64[], 1 value float[]), and the server takes only one: declare { name: specs.x.y, type: "float[]", optional: true }.',
  ])
  const declared: Fields = [
    { name: 'specs.w', type: 'float', optional: true },
    { name: 'specs.x.y', type: 'float[]', optional: true },
  ]
  expect(await unfit(rows, declared)).toEqual([])
})

test('text beside numbers, and a value beside an array of them, are told of', async () => {
  expect(
    await unfit([
      { a: 'x', b: 1 },
      { a: 1, b: [1] },
    ]),
  ).toEqual([
    'specs.a has values of several types (1 value int64, 1 value string), and the server takes only one: give it one type in `sql:`.',
    'specs.b has values of several types (1 value int64, 1 value int64[]), and the server takes only one: give it one type in `sql:`.',
  ])
})

test('a key that may be data is not told', async () => {
  const [sentence] = await unfit([{ 'somebody@example.com': 1 }, { 'somebody@example.com': 'x' }])
  expect(sentence).toMatch(/^a part of specs has values of several types/)
})

test('declared parts must have the declared type, and be there unless they are optional', async () => {
  const rows = [{ w: 3_000_000_000, t: 'x', l: ['a'] }, { w: 1.5, t: 'x', l: 'a' }, null, { w: -2_147_483_648 }]
  expect(
    await unfit(rows, [
      { name: 'specs.w', type: 'int32', optional: true },
      { name: 'specs.t', type: 'string' },
      { name: 'specs.l', type: 'string[]', optional: true },
    ]),
  ).toEqual([
    '1 value of specs.l is not string[], as the mapping says.',
    '2 values of specs.w are not int32, as the mapping says.',
    '2 rows have no value for specs.t, which is not optional.',
  ])
})

test('in an array of objects every part is an array', async () => {
  const rows = [[{ a: 1 }, { a: 2 }], [{ a: 3 }]]
  const objects = { type: 'object[]' } as const
  expect(await unfit(rows, [{ name: 'specs.a', type: 'int32[]', optional: true }], objects)).toEqual([])
  expect(await unfit(rows, [{ name: 'specs.a', type: 'int32', optional: true }], objects)).toEqual([
    '3 values of specs.a are not int32, as the mapping says.',
  ])
})

test('what is not indexed may hold anything', async () => {
  expect(await unfit([{ a: 1 }, { a: 'x' }], [], { index: false })).toEqual([])
})

test('of many rows a part is looked into, and what is all over them is found', async () => {
  const [sentence] =
    await unfitOf(`select n as id, case n % 2 when 0 then '{"a": 1}'::jsonb else '{"a": "x"}' end as specs
    from generate_series(1, 120000) n`)
  const [, numbers, texts] = /\((\d+) values int64, (\d+) values string\)/.exec(sentence ?? '') ?? []
  const looked = Number(numbers) + Number(texts)
  expect(looked).toBeGreaterThan(30_000)
  expect(looked).toBeLessThan(60_000)
})
