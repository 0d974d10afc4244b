import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobParams } from '@multiboard-sync/shared/job'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { openJournal } from '../journal/journal.ts'
import { createStatus } from './agent-status.ts'
import { watchTogether } from './agent-watch.ts'
import { openMetrics } from './metrics.ts'

const sync: JobParams = {
  kind: 'sync',
  source: 'production',
  target: 'staging',
  engine: 'auto',
  tables: ['public.canary'],
}
const result: JobResult = {
  outcome: 'succeeded',
  target_state: 'changed',
  tables: 2,
  rows: 30,
  bytes: 400,
  seconds: 7,
  peak_rss_mb: 1,
}
const lease = { remainingMs: () => 12_500, waitUntilValid: async () => undefined }

let stateDir: string
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'metrics-'))
})
afterEach(async () => await rm(stateDir, { recursive: true }))

async function open() {
  const status = createStatus({ agent: 'vps', version: '1', bootId: 'b' })
  const metrics = await openMetrics({ agent: 'vps', version: '1', stateDir }, status)
  const watch = watchTogether([status, metrics.watch])
  return {
    watch,
    run: (params: JobParams, end: Partial<JobResult> = {}) => {
      const watched = watch.jobBegan({ id: 'j4k7q2m9xw1ab', params, lease })
      for (const sink of watched.sinks) {
        sink.phase('exporting')
        sink.phase('loading')
      }
      watched.ended({ ...result, ...end })
    },
    /** Lines without comments. */
    read: async () => (await metrics.read()).split('\n').filter((line) => line !== '' && !line.startsWith('#')),
    text: async () => await metrics.read(),
  }
}

test('jobs are counted by kind and outcome, with what they copied and how long their phases took', async () => {
  const { run, read, text } = await open()
  run(sync)
  run(sync, { search: { state: 'stale', collections: [] } })
  run(sync, { outcome: 'failed', rows: 0, bytes: 0 })
  run({ kind: 'export', source: 'production', dry_run: true })
  const lines = await read()
  expect(lines).toEqual(
    expect.arrayContaining([
      'multiboard_sync_jobs_total{kind="sync",outcome="succeeded"} 2',
      'multiboard_sync_jobs_total{kind="sync",outcome="failed"} 1',
      'multiboard_sync_copied_rows_total{kind="sync"} 60',
      'multiboard_sync_copied_bytes_total{kind="sync"} 800',
      'multiboard_sync_stale_searches_total{kind="sync"} 1',
      'multiboard_sync_job_duration_seconds_count{kind="sync",outcome="succeeded"} 2',
      'multiboard_sync_job_duration_seconds_sum{kind="sync",outcome="succeeded"} 14',
      'multiboard_sync_job_duration_seconds_bucket{kind="sync",outcome="succeeded",le="5"} 0',
      'multiboard_sync_job_duration_seconds_bucket{kind="sync",outcome="succeeded",le="15"} 2',
      'multiboard_sync_phase_duration_seconds_count{kind="sync",phase="exporting"} 3',
      'multiboard_sync_phase_duration_seconds_count{kind="sync",phase="loading"} 3',
      'multiboard_sync_running_jobs 0',
    ]),
  )
  const successes = lines.filter((line) => line.includes('last_success_timestamp_seconds{'))
  expect(successes).toEqual([
    expect.stringMatching(
      /^multiboard_sync_last_success_timestamp_seconds\{kind="sync",source="production",target="staging"\} 1\d{9}/,
    ),
  ])
  // Of a table, and of nothing else of a job, nothing.
  expect(await text()).not.toMatch(/canary|j4k7q2m9xw1ab/)
  expect((await text()).match(/^# TYPE .+ (counter|gauge|histogram)$/gm)?.length).toBeGreaterThanOrEqual(15)
})

test('a running job shows its phase, its lease and how long it stands still; polls and refusals are counted by code', async () => {
  const { watch, read } = await open()
  watch.polled()
  watch.failed('control-plane-unreachable')
  watch.orderRefused('order-expired')
  const watched = watch.jobBegan({ id: 'j4k7q2m9xw1ab', params: sync, lease })
  for (const sink of watched.sinks) sink.phase('swapping')
  expect(await read()).toEqual(
    expect.arrayContaining([
      'multiboard_sync_running_jobs{kind="sync",phase="swapping"} 1',
      'multiboard_sync_lease_remaining_seconds 12.5',
      expect.stringMatching(/^multiboard_sync_job_stalled_seconds 0(\.\d+)?$/),
      'multiboard_sync_polls_total 1',
      'multiboard_sync_turn_failures_total{code="control-plane-unreachable"} 1',
      'multiboard_sync_orders_refused_total{code="order-expired"} 1',
      expect.stringMatching(/^multiboard_sync_peak_memory_bytes [1-9]\d{7,}$/),
    ]),
  )
})

test('a journal that cannot be read costs what is remembered, and not the daemon', async () => {
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  await mkdir(join(stateDir, 'journal'))
  await writeFile(join(stateDir, 'journal', 'j000000000001.jsonl'), 'canary\n')
  const { read } = await open()
  expect(await read()).toContain('multiboard_sync_running_jobs 0')
  expect(String(said.mock.calls[0]?.[0])).toMatch(/"level":"warning".+"code":"config-invalid"/)
  said.mockRestore()
})

test('the last successes of earlier boots are known, of every kind, and what waits in the outbox', async () => {
  const write = async (id: string, params: JobParams, at: string, end: Partial<JobResult> = {}) => {
    await using journal = await openJournal(stateDir, id, () => new Date(at))
    await journal.record('accepted', { params, epoch: 1, fence: 1 })
    await journal.record('finished', { result: { ...result, ...end } })
  }
  await write('j000000000001', sync, '2026-11-01T00:00:00Z')
  await write('j000000000002', sync, '2026-11-02T00:00:00Z')
  await write('j000000000003', sync, '2026-11-03T00:00:00Z', { outcome: 'failed' })
  await write('j000000000004', { ...sync, dry_run: true }, '2026-11-04T00:00:00Z')
  const restore = {
    kind: 'restore',
    archive: '20261122T080312Z-old_production-k7f2',
    target: 'staging',
    engine: 'auto',
  } as const
  await write('j000000000005', restore, '2026-11-05T00:00:00Z')
  await write('j000000000006', { kind: 'undo', target: 'staging', job: 'j000000000001' }, '2026-11-06T00:00:00Z')
  await mkdir(join(stateDir, 'outbox'))
  await writeFile(join(stateDir, 'outbox', 'j000000000007-1.jsonl'), 'x'.repeat(10))
  const { read } = await open()
  const day = (n: number): number => Date.parse(`2026-11-0${n}T00:00:00Z`) / 1000
  const name = 'multiboard_sync_last_success_timestamp_seconds'
  const lines = await read()
  expect(lines.filter((line) => line.startsWith(name)).toSorted()).toEqual([
    `${name}{kind="restore",source="old_production",target="staging"} ${day(5)}`,
    `${name}{kind="sync",source="production",target="staging"} ${day(2)}`,
    `${name}{kind="undo",source="",target="staging"} ${day(6)}`,
  ])
  expect(lines).toEqual(expect.arrayContaining(['multiboard_sync_outbox_jobs 1', 'multiboard_sync_outbox_bytes 10']))
})
