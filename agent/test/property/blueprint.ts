import fc from 'fast-check'

/*
 * A random database as data: small numbers that schema-sql.ts turns into SQL. Whatever the numbers are, the SQL is valid and
 * every object in it is of a kind that engine swap carries. fast-check makes them smaller when a run fails.
 */

export const TABLE_KINDS = [
  'plain',
  'plain',
  'serial',
  'identity',
  'shared',
  'unlogged',
  'typed',
  'range',
  'hash',
  'list',
  'parent',
] as const
export const KEYS = ['primary', 'primary', 'unique', 'deferrable', 'none'] as const

export interface TableBlueprint {
  kind: (typeof TABLE_KINDS)[number]
  schema: number
  name: number
  key: (typeof KEYS)[number]
  /** Numbers of columns.ts. */
  columns: { type: number; name: number; notNull: boolean; later: boolean }[]
  /** Rows in the source and in the target. */
  rows: [number, number]
  /** Not copied, where the job asks for some tables only. */
  outside: boolean
}

/** One thing that belongs to tables: its kind is a number of belongings.ts, the seed chooses everything else. */
export interface Belonging {
  kind: number
  seed: number
}

export interface Blueprint {
  schemas: number[]
  tables: TableBlueprint[]
  belongings: Belonging[]
  /** What the target has beyond the source, and what makes no difference. */
  extras: Belonging[]
}

const SEED_MAX = 0x7fff_ffff
const belongings = (maxLength: number): fc.Arbitrary<Belonging[]> =>
  fc.array(fc.record({ kind: fc.nat(999), seed: fc.nat(SEED_MAX) }), { maxLength, size: 'max' })

const table: fc.Arbitrary<TableBlueprint> = fc.record({
  kind: fc.constantFrom(...TABLE_KINDS),
  schema: fc.nat(9),
  name: fc.nat(99),
  key: fc.constantFrom(...KEYS),
  columns: fc.array(fc.record({ type: fc.nat(999), name: fc.nat(99), notNull: fc.boolean(), later: fc.boolean() }), {
    maxLength: 6,
    size: 'max',
  }),
  rows: fc.tuple(fc.nat(25), fc.nat(25)),
  outside: fc.integer({ min: 0, max: 5 }).map((n) => n === 5),
})

export const blueprint: fc.Arbitrary<Blueprint> = fc.record({
  schemas: fc.uniqueArray(fc.nat(5), { minLength: 1, maxLength: 3 }),
  tables: fc.array(table, { minLength: 1, maxLength: 6, size: 'max' }),
  belongings: belongings(40),
  extras: belongings(6),
})
