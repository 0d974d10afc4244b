import { describe, expect, test } from 'vitest'
import type { Column } from '@multiboard-sync/shared/manifest'
import type { DumpEntry } from '../postgres/dump-entries.ts'
import { compareSchema } from './compare-schema.ts'

const column = (name: string, over: Partial<Column> = {}): Column => ({
  name,
  type: 'integer',
  not_null: false,
  has_default: false,
  generated: '',
  identity: '',
  ...over,
})
const side = (columns: Column[], entries: DumpEntry[] = []) => ({
  tables: [{ schema: 'public', name: 'part', columns }],
  entries,
})
const entry = (type: string, name: string, sql: string): DumpEntry => ({
  type,
  schema: 'public',
  name,
  owner: '',
  sql,
  settings: '',
  raw: sql,
})

describe('columns', () => {
  test('in another order fit', () => {
    const differences = compareSchema(side([column('a'), column('b')]), side([column('b'), column('a')]))
    expect(differences).toEqual({ blocking: [], notices: [] })
  })

  test.each([
    ['is filled by its default', { not_null: true, has_default: true }, false],
    ['is filled by its identity', { not_null: true, identity: 'a' as const }, false],
    ['is generated', { not_null: true, generated: 's' as const }, false],
    ['may be null', {}, false],
    ['must be filled', { not_null: true }, true],
  ])('that only the target has: one that %s', (_, over, isBlocking) => {
    const { blocking } = compareSchema(side([column('a')]), side([column('a'), column('extra', over)]))
    expect(blocking.length > 0).toBe(isBlocking)
  })

  test('that may hold nulls in the source only are noticed, not blocked', () => {
    const { blocking, notices } = compareSchema(side([column('a')]), side([column('a', { not_null: true })]))
    expect([blocking, notices]).toEqual([[], ['column "a" of public.part is not null in the target only']])
  })
})

describe('types', () => {
  const status = (...labels: string[]): DumpEntry =>
    entry('TYPE', 'Status', `CREATE TYPE public."Status" AS ENUM (\n    ${labels.join(',\n    ')}\n);`)
  const differ = (type: string, origin: DumpEntry[], target: DumpEntry[]) =>
    compareSchema(side([column('a', { type })], origin), side([column('a', { type })], target))

  test.each([
    [`: the target lacks 'b,''c'`, ["'a'", "'b,''c'"], ["'a'"]],
    [`: only the target has 'b'`, ["'a'"], ["'a'", "'b'"]],
    [': the labels have another order', ["'a'", "'b'"], ["'b'", "'a'"]],
  ])('an enum that is used tells%s', (told, ours, theirs) => {
    expect(differ('public."Status"[]', [status(...ours)], [status(...theirs)]).blocking).toEqual([
      `type public.Status differs${told}`,
    ])
  })

  test('behind a domain of a domain count as used; of another name that begins alike they do not', () => {
    const domains = [
      entry('DOMAIN', 'outer', 'CREATE DOMAIN public."outer" AS public."inner";'),
      entry('DOMAIN', 'inner', 'CREATE DOMAIN public."inner" AS public."Status";'),
    ]
    const ours = [...domains, status("'a'")]
    const theirs = [...domains, status("'b'")]
    expect(differ('public."outer"', ours, theirs).blocking).toHaveLength(1)
    expect(differ('public.outermost', ours, theirs).blocking).toEqual([])
    expect(differ('public.outermost', ours, theirs).notices).toHaveLength(1)
  })

  test('that differ in white space only are the same', () => {
    const [a, b] = ['CREATE DOMAIN public.d AS text;', 'CREATE DOMAIN public.d\n    AS text;\n']
    expect(differ('public.d', [entry('DOMAIN', 'd', a)], [entry('DOMAIN', 'd', b)]).blocking).toEqual([])
  })
})
