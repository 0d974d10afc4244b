import { expect, test } from 'vitest'
import { archiveSummarySchema, CHECKSUM_ALGORITHM, manifestSchema } from './manifest.ts'

const digest = 'a'.repeat(64)
const part = { key: 'data/x/00001.sql.gz', rows: 1, header_bytes: 9, bytes: 4, compressed_bytes: 30, sha256: digest }
const column = { name: 'id', type: 'integer', not_null: true, has_default: false, generated: '', identity: '' }
const table = {
  schema: 'public',
  name: 'part',
  columns: [column],
  rows: 1,
  bytes: 4,
  checksum: { algorithm: CHECKSUM_ALGORITHM, value: '-12' },
  parts: [part],
}
const manifest = {
  format: 1,
  id: '20261122T080312Z-production-k7f2',
  kind: 'export',
  created_at: '2026-11-22T08:03:12.000Z',
  agent: 'vps1',
  job: 'j000000000000',
  source: {
    database: 'production',
    server_version: 180_004,
    encoding: 'UTF8',
    system_identifier: '7',
    database_oid: 5,
  },
  schema_sha256: digest,
  filters: {},
  tables: [table],
  objects: [],
  totals: { tables: 1, rows: 1, bytes: 4, compressed_bytes: 30 },
  tool: { name: 'multiboard-sync', version: '0.1.0' },
}
const isTaken = (over: object): boolean => manifestSchema.safeParse({ ...manifest, ...over }).success

test('a manifest of this format is taken as it is', () => {
  expect(manifestSchema.parse(manifest)).toEqual(manifest)
})

test.each([
  ['of another format', { format: 2 }],
  ['with a word that is not known', { compressed: 'zstd' }],
  ['with a word that is not known in a part', { tables: [{ ...table, parts: [{ ...part, codec: 'zstd' }] }] }],
  ['with a table without parts', { tables: [{ ...table, parts: [] }] }],
  ['with another way to sum', { tables: [{ ...table, checksum: { algorithm: 'crc32', value: '1' } }] }],
  [
    'with a sum that is no number',
    { tables: [{ ...table, checksum: { algorithm: CHECKSUM_ALGORITHM, value: '1e3' } }] },
  ],
  ['with fewer rows than none', { tables: [{ ...table, rows: -1 }] }],
  ['with a digest that is none', { schema_sha256: 'A'.repeat(63) }],
  ['whose id is a path', { id: '../x' }],
])('an archive %s is not understood, so not restored', (_, over) => {
  expect(isTaken(over)).toBe(false)
})

test('a summary without word of missing objects misses none', () => {
  const { id, kind, job, created_at } = manifest
  const summary = archiveSummarySchema.parse({
    id,
    kind,
    job,
    created_at,
    source: 'production',
    server_version: 180_004,
    tables: [],
    rows: 0,
    bytes: 0,
    compressed_bytes: 0,
    manifest_sha256: digest,
  })
  expect(summary.missing).toEqual([])
})
