import { expect, test } from 'vitest'
import { MAX_PLAN_TABLES, planViewSchema } from '@multiboard-sync/shared/plan'
import type { ExportPlan, Plan } from './plan.ts'
import { printPlanView } from './print-plan.ts'
import { viewOf } from './view-of.ts'

const table = (name: string, bytes: number) => ({
  schema: 'public',
  name,
  columns: [],
  rows: 1000,
  bytes,
  target_rows: 900,
})
const plan: Plan = {
  kind: 'sync',
  source: 'production',
  target: 'staging',
  engine: 'swap',
  reason: 'all that depends on these tables can be carried over',
  tables: [table('a', 10e6), table('B c', 30e6)],
  rows: 2000,
  bytes: 40e6,
  replaced: { bytes: 20e6, index_bytes: 10e6, members: 4 },
  remade: ['view public.v'],
  waits: [],
  outside_foreign_keys: ['k of public.outside'],
  notices: ['column "x" of public.a exists in the target only and gets its default'],
  whole: false,
}
const exported: ExportPlan = { kind: 'export', source: 'production', tables: [], rows: 0, bytes: 0, whole: true }

test('a plan for a page is valid, has its largest table first and rough figures', () => {
  const view = planViewSchema.parse(viewOf(plan))
  expect(view).toMatchObject({ kind: 'sync', engine: 'swap', table_count: 2, remade: ['view public.v'] })
  expect(view.tables).toEqual([
    { name: 'public."B c"', rows: 1000, bytes: 30e6, target_rows: 900 },
    { name: 'public.a', rows: 1000, bytes: 10e6, target_rows: 900 },
  ])
  // Indexes of the target are half of its tables.
  expect(view.disk_bytes).toBe(60e6)
  // 2 s, 2 tables, 40 MB exported and 40 MB loaded at 15 MB/s; the backup is shorter than the load.
  expect(view.seconds).toBeCloseTo(2 + 0.04 + 80 / 15, 1)
  expect(view.locks).toMatch(/1 ms a table, here 4 ms.*outside tables/)
})

test('a backup before the load takes its own time, and a restore exports nothing', () => {
  const truncated = viewOf({ ...plan, kind: 'restore', engine: 'truncate' })
  expect(truncated.seconds).toBeCloseTo(2 + 0.04 + 40 / 15 + 1, 1)
  expect(truncated.locks).toContain('wait while they are loaded')
})

test('readers of a merge wait only where a foreign key is made again, and it is named', () => {
  const merge: Plan = { ...plan, engine: 'merge' }
  expect(viewOf(merge).locks).toMatch(/^readers never wait; writers of these tables wait/)
  const waits = [
    'foreign key k of public.o is dropped and made again',
    'foreign key l of public.o is dropped and made again',
  ]
  expect(viewOf({ ...merge, waits }).locks).toMatch(
    /^readers and writers .*because foreign key k .* made again, and 1 more$/,
  )
})

test('a plan of very many tables and notices is cut so that it can travel, and says how many there are', () => {
  const many = Array.from({ length: MAX_PLAN_TABLES + 5 }, (_, n) => table(`t${n}`, n))
  const notices = Array.from({ length: 700 }, (_, n) => `notice ${n}`)
  const view = planViewSchema.parse(viewOf({ ...plan, tables: many, notices }))
  expect([view.tables.length, view.table_count]).toEqual([MAX_PLAN_TABLES, MAX_PLAN_TABLES + 5])
  expect(view.notices.at(-1)).toBe('and 200 more')
  expect(printPlanView(view)).toContain('\nand 1,965 more\n')
})

test('people read engine, reason, locks, disk and time before the tables, and what is made again after them', () => {
  const text = printPlanView(viewOf(plan))
  expect(text).toBe(`sync production -> staging
engine   swap: all that depends on these tables can be carried over
backup   the tables below are archived while their successors load, and kept for undo
rows     about 2,000 rows in 2 tables, 40.0 MB
locks    readers and writers wait a few milliseconds at the swap (about 1 ms a table, here 4 ms); writers of outside tables wait while their keys are checked
disk     about 60.0 MB beside the tables, until the previous ones are dropped; as much write-ahead log while it loads
time     roughly 7 s

table                  rows  rows in target       size
public."B c"          1,000             900    30.0 MB
public.a              1,000             900    10.0 MB

made again:
  - view public.v

foreign keys to or from other tables, checked again before the commit:
  - k of public.outside

to know:
  - column "x" of public.a exists in the target only and gets its default`)
})

test('an export has neither target nor engine, and needs no disk in a database', () => {
  const view = planViewSchema.parse(viewOf(exported))
  expect([view.target, view.engine, view.disk_bytes]).toEqual([undefined, undefined, 0])
  expect(printPlanView(view)).toMatch(
    /^export production\nextent {3}the whole database\nrows {5}about 0 rows in 0 tables/,
  )
})

test('rows that the server never estimated are said to be unknown', () => {
  const view = viewOf({ ...plan, tables: [{ ...table('a', 8192), rows: 0 }], rows: 0 })
  expect(printPlanView(view)).toContain('a number that the server has not estimated yet, in 1 table')
})
