import { describe, expect, test } from 'vitest'
import { createStatus } from './agent-status.ts'
import { isReady, judgeHeartbeat, parseHeartbeat, type Heartbeat } from './heartbeat.ts'

const T0 = Date.parse('2026-11-23T00:00:00Z')
const at = (seconds: number): Date => new Date(T0 + seconds * 1000)
const iso = (seconds: number): string => at(seconds).toISOString()

/** A daemon that polled 5 seconds ago and wrote it down. */
const well: Heartbeat = {
  at: iso(0),
  pid: 7,
  agent: 'vps',
  version: '0.1.0',
  boot_id: 'b',
  started_at: iso(-3600),
  doing: 'polling',
  turned_at: iso(-5),
  last_poll_ok_at: iso(-5),
  failed_with: null,
  draining: false,
}
const job: Heartbeat = {
  ...well,
  doing: 'job',
  turned_at: iso(-9000),
  last_poll_ok_at: iso(-9000),
  job: { id: 'j4k7q2m9xw1ab', kind: 'sync', phase: 'loading', began_at: iso(-9000), moved_at: iso(-1) },
}

describe('a daemon is well', () => {
  test.each<[string, Heartbeat, RegExp | undefined]>([
    ['that polls', well, undefined],
    ['whose job runs for hours', job, undefined],
    [
      'whose job waits for one statement',
      { ...job, job: { ...job.job!, moved_at: iso(-1200) } },
      /^Nothing of the job has moved for 20 min/,
    ],
    [
      'whose control plane is away: a restart would not help',
      { ...well, turned_at: iso(-2), last_poll_ok_at: iso(-7200), failed_with: 'control-plane-unreachable' },
      /last answered 2 h 00 min ago \(control-plane-unreachable\)/,
    ],
    [
      'whose control plane has never answered',
      { ...well, last_poll_ok_at: null, failed_with: 'unauthorized' },
      /has not answered since the daemon began \(unauthorized\)/,
    ],
    [
      'that settles for an hour what a crash has left',
      { ...well, doing: 'settling', turned_at: iso(-3600) },
      undefined,
    ],
  ])('%s', (_, heartbeat, remark) => {
    const { isWell, remarks } = judgeHeartbeat(heartbeat, at(10))
    expect(isWell).toBe(true)
    expect(remarks.length).toBe(remark ? 1 : 0)
    expect(remarks.join()).toMatch(remark ?? /^$/)
  })
})

describe('a daemon is not well', () => {
  test.each<[string, Heartbeat, number]>([
    ['whose process is gone or hangs: no newer sign of life', well, 61],
    ['whose job hangs with its event loop', job, 61],
    ['whose sign of life is from the future', well, -61],
    ['whose loop waits for something without end', { ...well, turned_at: iso(-1801) }, 0],
    ['that settles for more than two hours', { ...well, doing: 'settling', turned_at: iso(-7201) }, 0],
  ])('%s', (_, heartbeat, seconds) => {
    const { isWell, remarks } = judgeHeartbeat(heartbeat, at(seconds))
    expect([isWell, remarks.length]).toEqual([false, 1])
  })
})

test('who asks may be stricter or more patient', () => {
  expect(judgeHeartbeat(well, at(61), 120_000).isWell).toBe(true)
  expect(judgeHeartbeat(well, at(20), 10_000).isWell).toBe(false)
})

test('it is ready for an order when it has settled and its last poll was answered, and not once it stops', () => {
  expect([isReady(well), isReady(job)]).toEqual([true, true])
  const not: Partial<Heartbeat>[] = [
    { doing: 'settling' },
    { last_poll_ok_at: null },
    { failed_with: 'unauthorized' },
    { draining: true },
  ]
  for (const change of not) expect(isReady({ ...well, ...change }), JSON.stringify(change)).toBe(false)
})

test('what is not a sign of life is not taken for one', () => {
  expect(parseHeartbeat(JSON.stringify(job))).toEqual(job)
  const { at: _, ...without } = well
  const others = ['', '{', 'null', '[]', '{}', JSON.stringify(without), JSON.stringify({ ...well, turned_at: 'soon' })]
  expect(others.filter((text) => parseHeartbeat(text) !== undefined)).toEqual([])
})

test('the status follows the loop and its job', () => {
  let now = 0
  const status = createStatus({ agent: 'vps', version: '1', bootId: 'b' }, () => at(now))
  const seen = () => {
    const { doing, turned_at, failed_with, job: current } = status.read()
    return [doing, (Date.parse(turned_at) - T0) / 1000, failed_with, current?.phase, current?.moved_at]
  }
  expect(seen()).toEqual(['settling', 0, null, undefined, undefined])
  now = 1
  status.failed('storage-unreachable')
  expect(seen()).toEqual(['settling', 1, 'storage-unreachable', undefined, undefined])
  now = 2
  status.polled()
  expect(seen()).toEqual(['polling', 2, null, undefined, undefined])
  const lease = { remainingMs: () => 0, waitUntilValid: async () => undefined }
  const watched = status.jobBegan({ id: 'j4k7q2m9xw1ab', params: { kind: 'export', source: 'production' }, lease })
  now = 3
  for (const sink of watched.sinks) sink.phase('exporting')
  expect(seen()).toEqual(['job', 2, null, 'exporting', iso(3)])
  now = 4
  watched.ended({
    outcome: 'succeeded',
    target_state: 'untouched',
    tables: 0,
    rows: 0,
    bytes: 0,
    seconds: 1,
    peak_rss_mb: 1,
  })
  expect(seen()).toEqual(['polling', 4, null, undefined, undefined])
})
