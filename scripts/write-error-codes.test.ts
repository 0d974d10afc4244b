import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { errorCodes, groups } from '../shared/src/error-codes.ts'
import { withErrorCodes } from './write-error-codes.ts'

const document = await readFile(new URL('../docs/TROUBLESHOOTING.md', import.meta.url), 'utf8')

test('docs/TROUBLESHOOTING.md lists every error code as it is described', () => {
  expect(document, 'run `node scripts/write-error-codes.ts`').toBe(withErrorCodes(document))
})

test('every code stands in exactly one group', () => {
  const grouped: string[] = Object.values(groups).flat()
  expect(new Set(grouped).size).toBe(grouped.length)
  expect(new Set(grouped)).toEqual(new Set(Object.keys(errorCodes)))
})

test('what a code means, and what to do, are short sentences', () => {
  for (const [code, { means, todo }] of Object.entries(errorCodes)) {
    for (const text of [means, todo]) expect(text, code).toMatch(/^[`A-Z-][^|\n]{5,160}[.…]$/)
  }
})
