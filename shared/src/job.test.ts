import { expect, test } from 'vitest'
import { archiveIdSchema, jobIdSchema, jobParamsSchema, newArchiveId, newJobId } from './job.ts'

test('new ids are what their schemas say, sort by time, and differ', () => {
  const ids = Array.from({ length: 1000 }, newJobId)
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(jobIdSchema.safeParse(id).success).toBe(true)
  const [first, second] = ['2026-11-22T08:03:12.999Z', '2026-11-22T08:03:13.000Z'].map((at) =>
    newArchiveId(new Date(at), 'production'),
  )
  expect(first).toMatch(/^20261122T080312Z-production-[0-9a-z]{4}$/)
  expect(String(first) < String(second)).toBe(true)
  for (const id of [first, second]) expect(archiveIdSchema.safeParse(id).success).toBe(true)
})

test.each([
  ['another kind', { kind: 'drop', target: 'staging' }],
  ['a word too many', { kind: 'export', source: 'production', target: 'staging' }],
  ['no target', { kind: 'sync', source: 'production' }],
  ['a name with upper case', { kind: 'export', source: 'Production' }],
  ['a path for an archive', { kind: 'restore', archive: '../20261122T080312Z-production-k7f2', target: 'staging' }],
  ['a pattern that is none', { kind: 'export', source: 'production', tables: ['a.b.c'] }],
  ['too many patterns', { kind: 'export', source: 'production', tables: Array.from({ length: 1001 }, () => 'a') }],
])('a job with %s is refused', (_, params) => {
  expect(jobParamsSchema.safeParse(params).success).toBe(false)
})

test('a job leaves the engine to the plan unless it names one', () => {
  const params = { kind: 'sync', source: 'production', target: 'staging' }
  expect(jobParamsSchema.parse(params)).toEqual({ ...params, engine: 'auto' })
})
