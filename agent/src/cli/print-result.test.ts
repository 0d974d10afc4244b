import type { JobParams } from '@multiboard-sync/shared/job'
import { jobResultSchema, type JobResult } from '@multiboard-sync/shared/protocol'
import { expect, test } from 'vitest'
import type { Job } from '../context.ts'
import { resultJson, resultText } from './print-result.ts'

const ID = 'j4k7q2m9xw1ab'
const UNDONE = 'j000000000000'
const sync: JobParams = { kind: 'sync', source: 'production', target: 'staging', engine: 'auto' }
const jobOf = (params: JobParams): Job => ({ id: ID, epoch: 1, fence: undefined, params })
const resultOf = (over: Partial<JobResult>): JobResult =>
  jobResultSchema.parse({
    outcome: 'succeeded',
    engine: 'swap',
    target_state: 'changed',
    tables: 2,
    rows: 12_345,
    bytes: 1,
    seconds: 3,
    peak_rss_mb: 60,
    ...over,
  })
const proofOf = (...checksums: ('equal' | 'not-compared')[]): JobResult['proof'] =>
  checksums.map((checksum, n) => ({ table: `public.t${n}`, rows_expected: 1, rows_found: 1, checksum }))

test('after a swap people read what was proven, what came late, and how to undo it', () => {
  const result = resultOf({ proof: proofOf('equal', 'equal'), undoable: true, late_writes: 3 })
  expect(resultText(jobOf(sync), result).split('\n')).toEqual([
    'sync succeeded in 3 s',
    'The target holds the new rows.',
    'proven         12,345 rows in 2 tables, checksums equal (engine swap)',
    'late writes    3 rows written to the replaced tables meanwhile: kept there, not in the new ones',
    `undo: pnpm agent undo --to staging ${ID}`,
  ])
})

test('only checksums that were compared are said to be equal', () => {
  const proven = (proof: JobResult['proof']): string | undefined =>
    /^proven .*$/m.exec(resultText(jobOf(sync), resultOf({ proof })))?.[0]
  expect(proven(proofOf('not-compared', 'not-compared'))).toContain(', row counts equal (engine swap)')
  expect(proven(proofOf('equal', 'not-compared'))).toContain(', row counts equal, checksums of 1 of them, too')
})

test('an undo says what the target holds, and proves no rows that it did not count', () => {
  const undo: JobParams = { kind: 'undo', target: 'staging', job: UNDONE }
  expect(resultText(jobOf(undo), resultOf({ undoable: true })).split('\n')).toEqual([
    'undo succeeded in 3 s',
    `The target holds what ${UNDONE} had replaced.`,
    `undo: pnpm agent undo --to staging ${ID}`,
  ])
  expect(resultText(jobOf(undo), resultOf({ outcome: 'failed', target_state: 'rolled_back' }))).toContain(
    'The target is as it was',
  )
})

test('programs get the whole proof, and null for what a job does not have', () => {
  const proof = proofOf('equal', 'not-compared')
  const swapped: unknown = JSON.parse(resultJson(jobOf(sync), resultOf({ proof, undoable: true, late_writes: 0 })))
  expect(swapped).toMatchObject({ proof, undoable: true, late_writes: 0 })
  const exported = resultOf({ engine: undefined, target_state: 'untouched' })
  const printed: unknown = JSON.parse(resultJson(jobOf({ kind: 'export', source: 'production' }), exported))
  expect(printed).toMatchObject({ proof: null, undoable: null, late_writes: null })
})

const SEARCH = {
  state: 'stale',
  collections: [
    {
      alias: 'suppliers',
      state: 'fresh',
      mode: 'incremental',
      reason: 'the previous tables were compared',
      collection: 'suppliers__x',
      documents: 2000,
      upserted: 1200,
      deleted: 3,
      compared: 200,
      seconds: 2,
    },
    {
      alias: 'components',
      state: 'stale',
      mode: 'full',
      reason: 'asked for',
      upserted: 0,
      deleted: 0,
      compared: 0,
      seconds: 1,
      code: 'search-full',
      message: 'It is out of memory.',
      hint: 'Give it more.',
      details: ['a'],
    },
  ],
} satisfies JobResult['search']

test('a search that stayed stale is told first, with what to do, and the job succeeded all the same', () => {
  const lines = resultText(jobOf(sync), resultOf({ search: SEARCH })).split('\n')
  expect(lines.slice(-6)).toEqual([
    'The target holds the new rows.',
    'search         components is STALE (full: asked for)',
    '  search-full: It is out of memory.',
    '  - a',
    '  hint: Give it more.',
    'search         suppliers: 2,000 documents, 1,200 sent, 3 deleted in 2 s (the previous tables were compared)',
  ])
  expect(JSON.parse(resultJson(jobOf(sync), resultOf({ search: SEARCH })))).toMatchObject({ search: SEARCH })
  expect(JSON.parse(resultJson(jobOf(sync), resultOf({})))).toMatchObject({ search: null })
})

test('a reindex that failed says why once, and nothing of a target', () => {
  const failed = resultOf({ outcome: 'failed', target_state: 'untouched', code: 'search-full', search: SEARCH })
  const text = resultText(jobOf({ kind: 'reindex', source: 'staging' }), { ...failed, message: 'It is out of memory.' })
  expect(text.match(/out of memory/g)).toHaveLength(1)
  expect(text).not.toMatch(/target|undo/)
})
