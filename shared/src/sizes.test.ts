import { expect, test } from 'vitest'
import { formatBytes, formatCount, formatNumberOf, formatSeconds } from './sizes.ts'

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.00 kB'],
  [999_499, '999 kB'],
  [999_500, '1.00 MB'],
  [1_360_000_000, '1.36 GB'],
  [5e15, '5.00e+3 TB'],
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

test.each([
  [-1, '0 s'],
  [59.4, '59 s'],
  [59.5, '1 min 00 s'],
  [125, '2 min 05 s'],
  [3599.6, '1 h 00 min'],
  [3780, '1 h 03 min'],
])('%d seconds are %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text))

test('counts have commas, and nouns their plural', () => {
  expect(formatCount(1_234_567)).toBe('1,234,567')
  expect([0, 1, 2000].map((count) => formatNumberOf(count, 'table'))).toEqual(['0 tables', '1 table', '2,000 tables'])
})
