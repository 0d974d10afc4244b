import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import { expect, it } from 'vitest'
import { openOutbox } from './outbox.ts'
import { createReporter } from './reporter.ts'
import { createFakeControlPlane } from './testing/fake-control-plane.ts'
import { createVirtualClock } from './testing/virtual-clock.ts'
import { startUpload } from './upload.ts'

const JOB = 'j4k7q2m9xw1ab'
const CAP_BYTES = 30_000
const result: JobResult = {
  outcome: 'succeeded',
  target_state: 'changed',
  tables: 1,
  rows: 1,
  bytes: 1,
  seconds: 1,
  peak_rss_mb: 1,
}

it('G18: a job whose outbox is full goes on, and its phases, warnings and end arrive when the control plane is back', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'full-'))
  const clock = createVirtualClock()
  const plane = createFakeControlPlane(clock)
  const outbox = openOutbox({ stateDir, job: JOB, epoch: 1, capBytes: CAP_BYTES })
  const stops: string[] = []
  await using upload = startUpload({
    controlPlane: plane,
    job: JOB,
    epoch: 1,
    // The disk is instant, so that only the virtual clock's time counts.
    outbox: Object.assign(Object.create(outbox) as typeof outbox, { sync: async () => undefined }),
    signal: new AbortController().signal,
    onCancel: () => stops.push('cancel'),
    onLost: (error) => stops.push(error.code),
    clock,
    random: () => 0.5,
  })
  const reporter = createReporter([upload.sink], { clock })
  plane.isDown = true
  for (const phase of ['exporting', 'loading', 'proving'] as const) {
    reporter.phase(phase)
    for (let n = 0; n < 400; n += 1) reporter.event('table.loaded', { table: 'public.Component', n })
    reporter.event('search.stale', { alias: 'parts', phase }, 'warning')
    await clock.pass(60_000)
  }
  expect((await stat(join(stateDir, 'outbox', `${JOB}-1.jsonl`))).size).toBeLessThan(2 * CAP_BYTES)
  plane.isDown = false
  const ending = upload.complete(result, new AbortController().signal)
  for (let waited = 0; waited < 120; waited += 1) await clock.pass(1_000)
  expect(await ending).toBe('succeeded')

  const told = plane.events.map(({ type, data }) =>
    type === 'table.loaded' ? type : `${type} ${JSON.stringify(data['phase'])}`,
  )
  const kept = told.filter((text) => text.startsWith('job.phase') || text.startsWith('search.stale'))
  const phases = ['exporting', 'loading', 'proving']
  expect(kept).toEqual(phases.flatMap((phase) => [`job.phase "${phase}"`, `search.stale "${phase}"`]))
  const dropped = plane.events.find(({ type }) => type === 'events.dropped')
  expect(dropped?.data['info']).toBe(1200 - told.filter((text) => text === 'table.loaded').length)
  expect(plane.events.map(({ aseq }) => aseq)).toEqual(plane.events.map((_, index) => index + 1))
  expect(plane.completions.at(-1)?.result).toEqual(result)
  expect(stops).toEqual([])
  await rm(stateDir, { recursive: true })
})
