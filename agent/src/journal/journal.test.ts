import { appendFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { policySchema } from '@multiboard-sync/shared/policy'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openJournal, readFinished, readStarts, unfinishedJournals, untidySearches } from './journal.ts'

const JOB = 'j4k7q2m9xw1ab'
const OTHER = 'j4k7q2m9xw1ac'
const START = new Date('2026-11-22T12:00:00Z')
const accepted = { params: { kind: 'sync', source: 'production', target: 'staging' }, epoch: 3, fence: 8 } as const
const result: JobResult = {
  outcome: 'failed',
  target_state: 'untouched',
  tables: 0,
  rows: 0,
  bytes: 0,
  seconds: 1,
  peak_rss_mb: 1,
}

let stateDir: string

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'journal-'))
})

afterEach(async () => await rm(stateDir, { recursive: true }))

const fileOf = (job: string): string => join(stateDir, 'journal', `${job}.jsonl`)

it('says after a crash how far a job came', async () => {
  const journal = await openJournal(stateDir, JOB, () => START)
  await journal.record('accepted', accepted)
  await journal.record('upload-opened', { key: 'archives/x/1.gz', uploadId: 'u1' })
  await journal.record('archive-written', { archive: '20261122T080312Z-production-k7f2' })
  await journal.record('backup-written', { archive: '20261122T080313Z-staging-k7f3' })
  // Not closed: the process is gone. What was recorded must be there all the same.
  expect(await unfinishedJournals(stateDir, START)).toEqual([
    expect.objectContaining({
      job: JOB,
      epoch: 3,
      fence: 8,
      params: { ...accepted.params, engine: 'auto' },
      acceptedAt: START.toISOString(),
      lastStep: 'backup-written',
      uploads: [{ key: 'archives/x/1.gz', uploadId: 'u1' }],
      archive: '20261122T080312Z-production-k7f2',
      safetyBackup: '20261122T080313Z-staging-k7f3',
      mayHaveCommitted: false,
      hasCommitted: false,
    }),
  ])
  await journal.record('committing', {})
  expect(await unfinishedJournals(stateDir)).toMatchObject([{ mayHaveCommitted: true, hasCommitted: false }])
  await journal.record('committed', {})
  expect(await unfinishedJournals(stateDir)).toMatchObject([{ mayHaveCommitted: true, hasCommitted: true }])
  await journal.record('finished', { result })
  expect(await unfinishedJournals(stateDir)).toEqual([])
  expect(await readFinished(stateDir, JOB)).toEqual(result)
  await journal[Symbol.asyncDispose]()
})

it('ignores a torn last line and goes on behind it', async () => {
  {
    await using journal = await openJournal(stateDir, JOB)
    await journal.record('accepted', accepted)
  }
  await appendFile(fileOf(JOB), '{"at":"2026-11-22T12:00:00.000Z","step":"commit')
  expect(await unfinishedJournals(stateDir)).toMatchObject([{ lastStep: 'accepted', mayHaveCommitted: false }])
  {
    await using journal = await openJournal(stateDir, JOB)
    await journal.record('finished', { result })
  }
  expect(await unfinishedJournals(stateDir)).toEqual([])
})

it('takes a job whose first line never reached the disk for never begun', async () => {
  await mkdir(join(stateDir, 'journal'))
  await writeFile(fileOf(JOB), '{"at":"2026-11-22T12:00:00.000Z","step":"accep')
  expect(await unfinishedJournals(stateDir)).toEqual([])
  expect(await readdir(join(stateDir, 'journal')), 'its process may be about to write it').toHaveLength(1)
  expect(await unfinishedJournals(stateDir, new Date(Date.now() + 25 * 3600 * 1000))).toEqual([])
  expect(await readdir(join(stateDir, 'journal'))).toEqual([])
})

it('refuses to guess when a line is damaged', async () => {
  {
    await using journal = await openJournal(stateDir, JOB)
    await journal.record('accepted', accepted)
  }
  await appendFile(fileOf(JOB), 'garbage\n')
  await expect(unfinishedJournals(stateDir)).rejects.toMatchObject({ code: 'config-invalid' })
  await expect(openJournal(stateDir, JOB)).rejects.toMatchObject({ code: 'config-invalid' })
})

it('keeps the order of facts that are recorded at the same time', async () => {
  await using journal = await openJournal(stateDir, JOB)
  await journal.record('accepted', accepted)
  const ids = Array.from({ length: 50 }, (_, n) => `u${n}`)
  await Promise.all(ids.map(async (uploadId) => await journal.record('upload-opened', { key: 'k', uploadId })))
  const [summary] = await unfinishedJournals(stateDir)
  expect(summary?.uploads.map(({ uploadId }) => uploadId)).toEqual(ids)
})

it('counts a job as unfinished again when it was leased again, and still knows its old uploads', async () => {
  await using journal = await openJournal(stateDir, JOB)
  await journal.record('accepted', accepted)
  await journal.record('upload-opened', { key: 'k', uploadId: 'old' })
  await journal.record('committing', {})
  await journal.record('finished', { result })
  await journal.record('accepted', { ...accepted, epoch: 4 })
  expect(await readFinished(stateDir, JOB)).toBeUndefined()
  expect(await unfinishedJournals(stateDir)).toMatchObject([
    { epoch: 4, uploads: [{ uploadId: 'old' }], mayHaveCommitted: false },
  ])
})

it('removes finished journals after 30 days and gives the others oldest first', async () => {
  const days = (count: number): Date => new Date(START.getTime() + count * 24 * 3600 * 1000)
  const write = async (job: string, at: Date, isFinished: boolean): Promise<void> => {
    await using journal = await openJournal(stateDir, job, () => at)
    await journal.record('accepted', accepted)
    if (isFinished) await journal.record('finished', { result })
  }
  await write(JOB, days(0), true)
  await write(OTHER, days(1), false)
  await write('j4k7q2m9xw1ad', days(0.5), false)
  const left = async (at: Date): Promise<string[]> => (await unfinishedJournals(stateDir, at)).map(({ job }) => job)
  expect(await left(days(30))).toEqual(['j4k7q2m9xw1ad', OTHER])
  expect(await readdir(join(stateDir, 'journal'))).toHaveLength(3)
  expect(await left(days(31))).toEqual(['j4k7q2m9xw1ad', OTHER])
  expect(await readdir(join(stateDir, 'journal'))).toHaveLength(2)
})

it('knows of which collections nobody has looked after what the job made', async () => {
  await using journal = await openJournal(stateDir, JOB)
  await journal.record('accepted', { ...accepted, pid: 7 })
  await journal.record('search-planned', { source: 'staging', aliases: ['components', 'suppliers'] })
  expect(await untidySearches(stateDir)).toEqual([])
  await journal.record('reindexing', { source: 'staging', aliases: ['components', 'suppliers'] })
  const made = { alias: 'components', collection: `components__20261122T120000Z_${JOB}` }
  await journal.record('generation-made', made)
  await journal.record('adopting', { ...made, plain: 'components' })
  const untidy = { job: JOB, pid: 7, made: [made], adopting: [{ ...made, plain: 'components' }] }
  expect(await untidySearches(stateDir)).toEqual([untidy])
  expect(await unfinishedJournals(stateDir)).toMatchObject([
    { searchAliases: ['components', 'suppliers'], search: undefined },
  ])
  await journal.record('reindexed', { search: { state: 'fresh', collections: [] } })
  expect(await unfinishedJournals(stateDir)).toMatchObject([{ search: { state: 'fresh' } }])
  await journal.record('finished', { result })
  expect(await untidySearches(stateDir)).toEqual([{ ...untidy, pid: undefined }])
  await journal.record('search-tidied', {})
  expect(await untidySearches(stateDir)).toEqual([])
})

it('knows no result of a job without a journal', async () => {
  expect(await readFinished(stateDir, JOB)).toBeUndefined()
})

it('refuses a job id that could be a path', async () => {
  await expect(openJournal(stateDir, '../../etc/passwd')).rejects.toThrow('a job id such as')
})

it('tells when jobs were begun in the last day, by target, but for those that were refused', async () => {
  const policy = policySchema.parse({
    databases: { production: { role: 'source' }, staging: { role: 'target' }, other: { role: 'target' } },
    routes: [
      { from: 'production', to: 'staging', min_interval: '10m' },
      { from: 'production', to: 'other' },
    ],
  })
  const now = new Date()
  const ago = (hours: number): Date => new Date(now.getTime() - hours * 3_600_000)
  let count = 0
  const begin = async (hours: number, outcome?: JobResult['outcome'], target = 'staging'): Promise<void> => {
    count += 1
    await using journal = await openJournal(stateDir, `j00000000000${count}`, () => ago(hours))
    await journal.record('accepted', accepted)
    await journal.record('begun', { target })
    if (outcome) await journal.record('finished', { result: { ...result, outcome } })
  }
  expect(await readStarts({ policy, stateDir }, now), 'nothing was ever begun').toEqual(new Map())
  await begin(25, 'succeeded')
  await begin(24, 'succeeded')
  await begin(23, 'succeeded')
  await begin(5, 'failed')
  await begin(4, 'refused')
  await begin(3, 'canceled')
  await begin(2)
  await begin(1, 'succeeded', 'other')
  // The clock was set back since.
  await begin(-1, 'succeeded')
  const starts = await readStarts({ policy, stateDir }, now)
  expect([...starts]).toEqual([['staging', [ago(23), ago(5), ago(3), ago(2), ago(-1)]]])
  // A second run of a job that was refused: the first one counts.
  await using again = await openJournal(stateDir, 'j000000000002', () => ago(0.5))
  await again.record('accepted', { ...accepted, epoch: 4 })
  await again.record('begun', { target: 'staging' })
  await again.record('finished', { result: { ...result, outcome: 'refused' } })
  expect((await readStarts({ policy, stateDir }, now)).get('staging')).toHaveLength(5)
  await appendFile(fileOf('j000000000003'), 'damaged\n')
  await expect(readStarts({ policy, stateDir }, now)).rejects.toMatchObject({ code: 'config-invalid' })
})
