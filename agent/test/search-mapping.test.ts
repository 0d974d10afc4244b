import { mappingSchema, type Mapping } from '@multiboard-sync/shared/mapping'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import type { z } from 'zod'
import { openSession } from '../src/postgres/session.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { findUnfitRows } from '../src/reindex/mapping/find-unfit-rows.ts'

const deadlineMs = 30_000

async function sessionOn(url: string) {
  const signal = AbortSignal.timeout(deadlineMs)
  return await openSession({ name: 'source', url, viaProxy: false }, { purpose: 'test', signal })
}

function mappingOf(mapping: z.input<typeof mappingSchema>): Mapping {
  return mappingSchema.parse(mapping)
}

test('a mapping of common types makes documents without their NULLs', async () => {
  await using database = await createDatabase({
    sql: `
      create table "Part" (id int primary key, "displayName" text not null, price numeric(10,2), qty int not null,
        tags text[], "createdAt" timestamptz not null, specs jsonb, raw numeric, image text);
      insert into "Part" values
        (1, E'a "b"\\n', 1.10, 5, '{x,"y z"}', '2020-01-02 03:04:05.9+02', '{"w": 1}', 12345678901234567890.5, 'u'),
        (2, 'b', null, 6, '{}', '1969-12-31 23:59:59.5+00', null, null, null)`,
  })
  await using session = await sessionOn(database.url)
  const compiled = await compileMapping(
    session,
    'parts',
    mappingOf({
      from: 'public.Part',
      fields: [
        { name: 'title', column: 'displayName', type: 'string' },
        { name: 'price', type: 'float', optional: true },
        { name: 'qty', type: 'int32' },
        { name: 'tags', type: 'string[]', optional: true },
        { name: 'createdAt', type: 'int64', as: 'epoch_s' },
        { name: 'specs', type: 'object', optional: true },
      ],
      display_only: ['raw', 'image'],
      collection: { enable_nested_fields: true, default_sorting_field: 'qty' },
    }),
  )
  const rows = await session.query<{ id: string; document: string }>(compiled.documentsSql)
  expect(rows.map(({ document }) => JSON.parse(document) as unknown)).toEqual([
    {
      id: '1',
      title: 'a "b"\n',
      price: 1.1,
      qty: 5,
      tags: ['x', 'y z'],
      createdAt: 1577927045,
      specs: { w: 1 },
      raw: '12345678901234567890.5',
      image: 'u',
    },
    { id: '2', title: 'b', qty: 6, tags: [], createdAt: -1 },
  ])
  expect(compiled.tables).toEqual([{ schema: 'public', name: 'Part' }])
  expect(await findUnfitRows(session, compiled)).toEqual([])
})
