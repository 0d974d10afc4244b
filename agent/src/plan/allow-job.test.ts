import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jobParamsSchema, newJobId, type JobParams } from '@multiboard-sync/shared/job'
import type { Manifest } from '@multiboard-sync/shared/manifest'
import { policySchema } from '@multiboard-sync/shared/policy'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openJournal } from '../journal/journal.ts'
import { allowJob, beginJob } from './allow-job.ts'

const policy = policySchema.parse({
  databases: { production: { role: 'source' }, staging: { role: 'both' } },
  routes: [{ from: 'production', to: 'staging', max_jobs_per_day: 1 }],
})
const sync = jobParamsSchema.parse({ kind: 'sync', source: 'production', target: 'staging' })
const ARCHIVE = '20261122T080312Z-staging-k7f2'
const restore = jobParamsSchema.parse({ kind: 'restore', archive: ARCHIVE, target: 'staging' })

const EARNEST = { dryRun: false }

let stateDir: string

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'starts-'))
})
afterEach(async () => await rm(stateDir, { recursive: true }))

/** Begins a job as run-job.ts does; the steps that are on the disk then. */
async function begin(params: JobParams, { dryRun = false, archive }: { dryRun?: boolean; archive?: Manifest } = {}) {
  const job = { id: newJobId(), epoch: 1, fence: 1, params }
  await using journal = await openJournal(stateDir, job.id)
  await journal.record('accepted', { params, epoch: 1, fence: 1 })
  await beginJob({ policy, stateDir }, job, { journal, dryRun }, archive)
  const text = await readFile(join(stateDir, 'journal', `${job.id}.jsonl`), 'utf8')
  return text
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { step: string }).step)
}

const manifestOf = (kind: Manifest['kind'], database: string): Manifest =>
  ({ kind, created_at: new Date().toISOString(), source: { database } }) as Manifest

test('a start is on the disk when a job begins, and of two that were allowed at once the second is not begun', async () => {
  const both = await Promise.all([
    allowJob({ policy, stateDir }, sync, EARNEST),
    allowJob({ policy, stateDir }, sync, EARNEST),
  ])
  expect(both.map((route) => route?.to)).toEqual(['staging', 'staging'])
  expect(await begin(sync)).toEqual(['accepted', 'begun'])
  await expect(begin(sync)).rejects.toMatchObject({
    code: 'too-many-jobs',
    hint: expect.stringMatching(/^Ask again at/),
  })
})

test('a dry run and what is put back begin nothing that counts, and are not held back', async () => {
  const archive = manifestOf('safety-backup', 'staging')
  expect(await begin(sync, { dryRun: true })).toEqual(['accepted'])
  expect(await begin(restore, { archive })).toEqual(['accepted'])
  expect(await begin(sync)).toEqual(['accepted', 'begun'])
  expect(await begin(restore, { archive })).toEqual(['accepted'])
  expect(await begin(sync, { dryRun: true })).toEqual(['accepted'])
  const claimed = { ...sync, dry_run: true as const }
  await expect(begin(claimed), 'said and not done').rejects.toMatchObject({ code: 'too-many-jobs' })
  await expect(begin(restore, { archive: manifestOf('export', 'production') })).rejects.toMatchObject({
    code: 'too-many-jobs',
  })
  const undo = jobParamsSchema.parse({ kind: 'undo', target: 'staging', job: newJobId() })
  await expect(allowJob({ policy, stateDir }, undo, EARNEST)).resolves.toBeUndefined()
})
