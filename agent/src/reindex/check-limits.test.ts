import { mappingSchema } from '@multiboard-sync/shared/mapping'
import { expect, test } from 'vitest'
import { checkLimits } from './check-limits.ts'

const fields = [{ name: 'name', type: 'string' }]
const mapping = (verify: object) => mappingSchema.parse({ from: 'public.parts', fields, verify })

test.each([
  { before: undefined, documents: 1, verify: {} },
  { before: 100, documents: 70, verify: {} },
  { before: 100, documents: 0, verify: { min_count: 0, max_shrink_pct: 100 } },
  { before: 0, documents: 5, verify: { max_shrink_pct: 0 } },
  { before: 10, documents: 10, verify: { max_shrink_pct: 0 } },
])('$documents documents after $before may go live with $verify', ({ before, documents, verify }) => {
  expect(() => checkLimits(mapping(verify), before, documents)).not.toThrow()
})

test.each([
  { before: undefined, documents: 0, verify: {} },
  { before: 100, documents: 69, verify: {} },
  { before: 100, documents: 99, verify: { max_shrink_pct: 0 } },
  { before: 100, documents: 199, verify: { min_count: 200 } },
])('$documents documents after $before are too few with $verify', ({ before, documents, verify }) => {
  const check = () => checkLimits(mapping(verify), before, documents)
  expect(check).toThrow(expect.objectContaining({ code: 'search-shrunk' }))
})
