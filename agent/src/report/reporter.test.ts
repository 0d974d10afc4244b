import type { Progress } from '@multiboard-sync/shared/event'
import { expect, it } from 'vitest'
import { createRedactor } from './redact.ts'
import { createReporter, type ReportedEvent, type ReporterOptions } from './reporter.ts'
import { createVirtualClock } from './testing/virtual-clock.ts'

function startReporter(options: Omit<ReporterOptions, 'clock'> = {}) {
  const clock = createVirtualClock()
  const events: ReportedEvent[] = []
  const progress: Progress[] = []
  const phases: string[] = []
  const sink = {
    phase: (phase: string) => void phases.push(phase),
    event: (event: ReportedEvent) => void events.push(event),
    progress: (latest: Progress) => void progress.push(latest),
  }
  return { clock, events, progress, phases, reporter: createReporter([sink], { clock, ...options }) }
}

it('computes rate and remaining time of the phase from the last five seconds', async () => {
  const { clock, progress, reporter } = startReporter()
  reporter.phase('exporting')
  reporter.progress({ bytesTotal: 100_000, tablesTotal: 3, table: 'public.Part' })
  for (let second = 1; second <= 10; second += 1) {
    await clock.pass(1000)
    reporter.progress({ bytes: second * 1000, rows: second })
  }
  expect(progress.at(-1)).toEqual({
    phase: 'exporting',
    table: 'public.Part',
    tables_done: 0,
    tables_total: 3,
    rows: 10,
    bytes: 10_000,
    bytes_total: 100_000,
    bytes_per_second: 1000,
    eta_seconds: 90,
    elapsed_seconds: 10,
  })
  for (let second = 1; second <= 6; second += 1) {
    await clock.pass(1000)
    reporter.progress({ bytes: 10_000 + second * 9000 })
  }
  expect(progress.at(-1)).toMatchObject({ bytes_per_second: 9000, eta_seconds: 4 })
})

it('computes rate and remaining time of a collection from its documents, and begins anew with the next one', async () => {
  const { clock, progress, reporter } = startReporter()
  reporter.phase('reindexing')
  reporter.progress({ table: 'components', documents: 0, documentsTotal: 100_000 })
  for (let second = 1; second <= 10; second += 1) {
    await clock.pass(1000)
    reporter.progress({ documents: second * 1000 })
  }
  expect(progress.at(-1)).toMatchObject({
    table: 'components',
    documents: 10_000,
    documents_total: 100_000,
    documents_per_second: 1000,
    eta_seconds: 90,
  })
  reporter.progress({ waitingFor: 'Typesense' })
  expect(progress.at(-1)).toMatchObject({ waiting_for: 'Typesense' })
  reporter.progress({ waitingFor: undefined })
  expect(progress.at(-1)).not.toHaveProperty('waiting_for')
  reporter.progress({ table: 'suppliers', documents: 0, documentsTotal: 10 })
  await clock.pass(1000)
  reporter.progress({ documents: 5 })
  expect(progress.at(-1)).toMatchObject({ table: 'suppliers', documents_per_second: 5, eta_seconds: 1 })
})

it('says no remaining time when nothing moves or the size is not known', async () => {
  const { clock, progress, reporter } = startReporter()
  reporter.phase('loading')
  reporter.progress({ bytesTotal: 1000, bytes: 500 })
  await clock.pass(60_000)
  reporter.progress({ bytes: 500 })
  await clock.pass(10_000)
  reporter.progress({ bytes: 500 })
  expect(progress.at(-1)).toMatchObject({ bytes_per_second: 0 })
  expect(progress.at(-1)).not.toHaveProperty('eta_seconds')
  await clock.pass(1000)
  reporter.progress({ bytes: 2000 })
  expect(progress.at(-1)).not.toHaveProperty('eta_seconds')
})

it('starts each phase at zero and writes the phase down', async () => {
  const { clock, events, phases, progress, reporter } = startReporter()
  reporter.phase('exporting')
  reporter.progress({ bytes: 10, rows: 2, tablesDone: 1, table: 'public.Part' })
  await clock.pass(500)
  reporter.phase('backing-up')
  expect(phases).toEqual(['exporting', 'backing-up'])
  expect(events.map(({ type, level, data }) => [type, level, data])).toEqual([
    ['job.phase', 'info', { phase: 'exporting' }],
    ['job.phase', 'info', { phase: 'backing-up' }],
  ])
  expect(progress.at(-1)).toMatchObject({
    phase: 'backing-up',
    bytes: 0,
    rows: 0,
    tables_done: 0,
    elapsed_seconds: 0.5,
  })
  expect(progress.at(-1)).not.toHaveProperty('table')
})

it('does not begin a phase again that goes on', () => {
  const { events, phases, reporter } = startReporter()
  for (const phase of ['preflight', 'preflight', 'loading', 'loading', 'building'] as const) reporter.phase(phase)
  expect(phases).toEqual(['preflight', 'loading', 'building'])
  expect(events.map(({ data }) => data['phase'])).toEqual(['preflight', 'loading', 'building'])
})

it('tells progress ten times a second at most and never loses the last', async () => {
  const { clock, progress, reporter } = startReporter()
  reporter.phase('exporting')
  const before = progress.length
  for (let n = 1; n <= 1000; n += 1) {
    reporter.progress({ bytes: n })
    await clock.pass(1)
  }
  expect(progress.length - before).toBeLessThanOrEqual(11)
  reporter.event('export.table-done')
  expect(progress.at(-1)).toMatchObject({ bytes: 1000 })
})

it('redacts what a stage says', () => {
  const { events, reporter } = startReporter({ redact: createRedactor(['hunter2!']) })
  reporter.event('export.note', { text: 'postgres://a:b@c/d hunter2!' }, 'warning')
  expect(events[0]).toMatchObject({ level: 'warning', data: { text: 'postgres://***@c/d ***' } })
})

it('keeps an event whose data are too large, without the data', () => {
  const { events, reporter } = startReporter()
  reporter.event('plan.difference', { lines: Array.from({ length: 2000 }, () => 'x'.repeat(20)) })
  expect(events[0]).toMatchObject({ type: 'plan.difference', data: { too_large: expect.any(Number), fields: 'lines' } })
})

it('refuses an event type that the contract does not know', () => {
  const { reporter } = startReporter()
  expect(() => reporter.event('Nonsense Type')).toThrow('invalid_format')
})
