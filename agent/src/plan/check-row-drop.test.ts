import { expect, test } from 'vitest'
import type { ArchivedTable, ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import { checkRowDrop } from './check-row-drop.ts'

const table = (name: string, rows: number): ArchivedTable => ({
  schema: 'public',
  name,
  columns: [],
  rows,
  bytes: 0,
  parts: [],
})
const backup = (tables: Record<string, number>): ArchiveSummary => ({
  id: '20261122T080312Z-staging-k7f2',
  kind: 'safety-backup',
  source: 'staging',
  job: 'j000000000000',
  created_at: '2026-11-22T08:03:12.000Z',
  server_version: 180_004,
  tables: Object.entries(tables).map(([name, rows]) => ({ name, rows, bytes: 0 })),
  rows: 0,
  bytes: 0,
  compressed_bytes: 0,
  manifest_sha256: '0'.repeat(64),
  missing: [],
})

test.each([
  [30, 100, 70, false],
  [30, 100, 69, true],
  [0, 100, 100, false],
  [0, 100, 99, true],
  [100, 100, 0, false],
  [30, 0, 0, false],
  [30, 100, 200, false],
])(
  'with a guard of %d %% a table of %d rows that would have %d is refused: %s',
  (percent, before, after, isRefused) => {
    const codeOf = (): string => {
      try {
        checkRowDrop(percent, [table('part', after)], backup({ 'public.part': before }))
        return 'none'
      } catch (error) {
        return toSyncError(error).code
      }
    }
    expect(codeOf()).toBe(isRefused ? 'row-drop' : 'none')
  },
)

test('every table that would lose too many is named, and without a guard or a backup none is', () => {
  const tables = [table('a', 0), table('b', 1), table('c', 9)]
  const before = backup({ 'public.a': 10, 'public.b': 10, 'public.c': 10 })
  expect(() => checkRowDrop(50, tables, before)).toThrow(
    expect.objectContaining({
      message: '2 tables would lose more than 50 % of the rows.',
      details: [expect.stringContaining('public.a'), expect.stringContaining('public.b')],
    }),
  )
  expect(() => checkRowDrop(undefined, tables, before)).not.toThrow()
  expect(() => checkRowDrop(50, tables, undefined)).not.toThrow()
})
