import { expect, test } from 'vitest'
import { splitTable } from './split-table.ts'

const MB = 1024 * 1024
const cutting = { oids: new Set([1]), pageBytes: 8192 }
const column = {
  name: 'id',
  type: 'integer',
  not_null: true,
  has_default: false,
  generated: '',
  identity: '',
} as const
const table = (heapMb: number, toastMb = 0) => ({
  oid: 1,
  heapBytes: heapMb * MB,
  tableBytes: (heapMb + toastMb) * MB,
  columns: [column],
})

test('A big table has several even slices for each lane, without a gap and with open ends', () => {
  const slices = splitTable(table(1024), 2, cutting)
  expect(slices.map(({ n, bytes }) => [n, bytes])).toEqual(Array.from({ length: 16 }, (_, n) => [n, 64 * MB]))
  expect(slices[0]?.where).toBe(`ctid < '(8192,0)'::pg_catalog.tid`)
  expect(slices[1]?.where).toBe(`ctid >= '(8192,0)'::pg_catalog.tid and ctid < '(16384,0)'::pg_catalog.tid`)
  expect(slices[15]?.where).toBe(`ctid >= '(122880,0)'::pg_catalog.tid`)
})

test('A small table is one slice, and none is smaller than 32 MiB', () => {
  expect(splitTable(table(63), 8, cutting)).toEqual([{ n: 0, bytes: 63 * MB, where: undefined }])
  expect(splitTable(table(100), 8, cutting)).toHaveLength(3)
})

test('A huge table has slices of at most 1 GiB, however few lanes there are', () => {
  const slices = splitTable(table(100 * 1024), 1, cutting)
  expect(slices).toHaveLength(100)
})

test('Values beside the table count as its bytes, but there are enough pages for each slice', () => {
  expect(splitTable(table(8, 1024), 2, cutting)).toHaveLength(16)
  expect(splitTable(table(1, 1024), 2, cutting)).toHaveLength(2)
})

test('A table without columns, or one that cannot be read by places, is one slice', () => {
  expect(splitTable({ ...table(1024), columns: [] }, 2, cutting)).toHaveLength(1)
  expect(splitTable({ ...table(1024), oid: 2 }, 2, cutting)).toHaveLength(1)
})
