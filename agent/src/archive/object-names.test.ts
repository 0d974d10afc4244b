import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import {
  MANIFEST,
  POST_DATA,
  PRE_DATA,
  RECIPE,
  SEQUENCES,
  archivePrefix,
  encodeName,
  encodeTable,
  partName,
} from './object-names.ts'

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => text.isWellFormed())

describe('object names', () => {
  it('leave ordinary names readable and encode every other byte', () => {
    expect(partName({ schema: 'public', name: 'Component' }, 7)).toBe('100-data/public.Component/00007.sql')
    expect(encodeName('../x')).toBe('%2E%2E%2Fx')
    expect(encodeName('naïve\n"')).toBe('na%C3%AFve%0A%22')
    expect(encodeName('..')).toBe('%2E%2E')
    expect(encodeName('100%')).toBe('100%25')
  })

  it('can be decoded, so no two tables share a folder', () => {
    fc.assert(
      fc.property(name, name, (schema, table) => {
        const parts = encodeTable({ schema, name: table }).split('.')
        expect(parts.map(decodeURIComponent)).toEqual([schema, table])
      }),
    )
  })

  it('tell a.b + c from a + b.c', () => {
    expect(encodeTable({ schema: 'a.b', name: 'c' })).not.toBe(encodeTable({ schema: 'a', name: 'b.c' }))
  })

  it('sort in the order in which psql must read them', () => {
    fc.assert(
      fc.property(name, name, fc.nat(99_998), (schema, table, n) => {
        const part = partName({ schema, name: table }, n)
        const next = partName({ schema, name: table }, n + 1)
        const keys = [POST_DATA, next, SEQUENCES, part, PRE_DATA]
        expect(keys.toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b)))).toEqual([
          PRE_DATA,
          part,
          next,
          SEQUENCES,
          POST_DATA,
        ])
      }),
    )
    expect([MANIFEST, RECIPE].every((other) => !/^[0-9]/.test(other))).toBe(true)
  })

  it('fit into a key of S3 however long the names are', () => {
    const long = '界'.repeat(21)
    const id = `20261122T080312Z-${'d'.repeat(63)}-k7f2`
    const key = archivePrefix('p'.repeat(500), 'export', id) + `${partName({ schema: long, name: long }, 99_999)}.zst`
    expect(Buffer.byteLength(long)).toBe(63)
    expect(Buffer.byteLength(key)).toBeLessThanOrEqual(1024)
  })

  it('do not depend on slashes around the prefix', () => {
    const id = '20261122T080312Z-production-k7f2'
    expect(archivePrefix('/a//b/', 'export', id)).toBe(`a/b/archives/${id}/`)
    expect(archivePrefix('', 'safety-backup', id)).toBe(`backups/${id}/`)
  })

  it('refuse a prefix that is too long or leads elsewhere, and a part number that would not sort', () => {
    expect(() => archivePrefix('p'.repeat(501), 'export', 'x')).toThrow(SyncError)
    expect(() => archivePrefix('a/../b', 'export', 'x')).toThrow(SyncError)
    expect(() => partName({ schema: 'a', name: 'b' }, 100_000)).toThrow(RangeError)
  })
})
