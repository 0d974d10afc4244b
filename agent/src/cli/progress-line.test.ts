import type { Progress } from '@multiboard-sync/shared/event'
import { expect, test } from 'vitest'
import { progressText } from './progress-line.ts'

const reindexing: Progress = {
  phase: 'reindexing',
  table: 'components',
  tables_done: 0,
  tables_total: 0,
  rows: 0,
  bytes: 0,
  bytes_total: 0,
  bytes_per_second: 0,
  elapsed_seconds: 12,
  documents: 250_000,
  documents_total: 1_000_000,
  documents_per_second: 18_900,
  eta_seconds: 40,
}

test('a collection is told by its documents, their rate, and what is left', () => {
  expect(progressText(reindexing)).toBe(
    'reindexing  components  25 %  250,000 documents  18,900 documents/s  40 s left',
  )
})

test('a search server that keeps the job waiting is named instead', () => {
  expect(progressText({ ...reindexing, waiting_for: 'Typesense' })).toBe(
    'reindexing  components  25 %  250,000 documents  waiting for Typesense',
  )
})
