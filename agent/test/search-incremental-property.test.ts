import { mappingSchema } from '@multiboard-sync/shared/mapping'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { reindexIncrementally } from '../src/reindex/incremental/reindex-incrementally.ts'
import { ALIAS, fields, j0, j1, openIndex, swapByHand, tamper, type Index } from './search-live-index.ts'

/*
 * Rows before and after at random, with writes to the rows that the index has not heard of and writes to the index that the
 * rows know nothing of. Further ones: PROPERTY_SEED=17 PROPERTY_RUNS=200 vitest run …
 */

const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 12)
const SEED = Number(process.env['PROPERTY_SEED'] ?? 1)

interface Part {
  id: string
  name: string
  price: number | null
  stock: string
  tags: string[]
}

const text = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((value) => !value.includes('\0'))
const values = fc.record({
  name: text,
  price: fc.option(fc.double({ noDefaultInfinity: true, noNaN: true })),
  stock: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  tags: fc.array(text, { maxLength: 3 }),
})
const part = fc.record({ id: text.filter((id) => id !== ''), values }).map(({ id, values: rest }) => ({ id, ...rest }))
const parts = fc.uniqueArray(part, { selector: ({ id }) => id, minLength: 20, maxLength: 60 })

/** What happens to some of them: the nth of them gets the values, or goes; or one is new. */
const change = fc.oneof(
  fc.record({ kind: fc.constant('update' as const), nth: fc.nat(59), values }),
  fc.record({ kind: fc.constant('delete' as const), nth: fc.nat(59) }),
  fc.record({ kind: fc.constant('insert' as const), part }),
)
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never
const few = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Change[]>([]) },
  { weight: 2, arbitrary: fc.array(change, { maxLength: 3 }) },
)

function apply(before: Part[], changes: Change[]): Part[] {
  const after = new Map(before.map((one) => [one.id, one]))
  for (const one of changes) {
    if (one.kind === 'insert') after.set(one.part.id, one.part)
    const id = one.kind === 'insert' ? undefined : [...after.keys()].at(one.nth % Math.max(1, after.size))
    if (id === undefined) continue
    if (one.kind === 'delete') after.delete(id)
    if (one.kind === 'update') after.set(id, { id, ...one.values })
  }
  return [...after.values()]
}

async function fill({ client }: Index, rows: Part[]): Promise<void> {
  await client.query('truncate public."Part"')
  await client.query(
    `insert into public."Part" select id, name, price, stock, tags, null
     from jsonb_to_recordset($1) as t (id text, name text, price float8, stock bigint, tags text[])`,
    [JSON.stringify(rows)],
  )
}

const document = ({ price, stock, ...one }: Part): string =>
  `${JSON.stringify({ ...one, ...(price === null ? {} : { price }) }).slice(0, -1)},"stock":${stock}}`

test('whatever happened to the rows and to the index, afterwards the documents equal the rows', async () => {
  const mapping = mappingSchema.parse({ from: 'public."Part"', fields, verify: { min_count: 0, max_shrink_pct: 100 } })
  await using index = await openIndex({ mapping })
  const ways = new Set<string>()
  const property = fc.asyncProperty(
    parts,
    fc.record({ unheard: few, arrived: fc.array(change, { maxLength: 5 }), drift: few, isSwap: fc.boolean() }),
    async (before, { unheard, arrived, drift, isSwap }) => {
      for (const name of index.fake.collections()) await drop(index, name)
      await index.client.query('drop schema if exists multiboard_sync_prev_j000000000001_1 cascade')
      await fill(index, before)
      await index.make(j0)
      const stale = apply(before, unheard)
      await fill(index, stale)
      const previous = isSwap ? await swapByHand(index, j1, ['Part']) : undefined
      await fill(index, apply(stale, arrived))
      const drifted = apply(before, drift)
      const known = new Set(drifted.map(({ id }) => id))
      await tamper(
        index,
        drifted.map(document),
        before.map(({ id }) => id).filter((id) => !known.has(id)),
      )

      const result = await reindexIncrementally(index.run(j1), await index.plan(), previous ? { previous } : {})
      ways.add('full' in result ? 'full' : result.reason)
      // What the caller does then.
      if ('full' in result) await index.make(j1)
      await index.isEqual()
      const again = await reindexIncrementally(index.run(j1), await index.plan())
      expect(again).toMatchObject({ upserted: 0, deleted: 0 })
    },
  )
  await fc.assert(property, { seed: SEED, numRuns: RUNS, endOnFailure: true })
  expect([...ways]).toEqual(
    expect.arrayContaining(['compared with all documents of the index', 'compared with the tables that were replaced']),
  )
})

async function drop({ fake, typesense }: Index, name: string): Promise<void> {
  await fetch(`${fake.url}/aliases/${ALIAS}`, {
    method: 'DELETE',
    headers: { 'x-typesense-api-key': fake.apiKey },
  })
  await typesense.dropCollection(name)
}
