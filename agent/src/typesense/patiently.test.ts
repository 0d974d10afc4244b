import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, it } from 'vitest'
import { createVirtualClock } from '../report/testing/virtual-clock.ts'
import { patiently } from './patiently.ts'

const busy = (): SyncError => new SyncError('search-unreachable', 'busy', { retryable: true })
const full = (): SyncError => new SyncError('search-full', 'full')

function begin(outcomes: (Error | string)[], giveUpAfterMs?: number) {
  const clock = createVirtualClock()
  const abort = new AbortController()
  const waits: number[] = []
  const calls: number[] = []
  const work = async (): Promise<string> => {
    calls.push(clock.monotonicMs() - 1000)
    const outcome = outcomes.shift() ?? busy()
    if (typeof outcome === 'string') return outcome
    throw outcome
  }
  const done = patiently(work, {
    signal: abort.signal,
    onWaiting: (_error, waitedMs) => waits.push(waitedMs),
    clock,
    random: () => 1,
    ...(giveUpAfterMs === undefined ? {} : { giveUpAfterMs }),
  })
  const settled = done.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  return { clock, abort, waits, calls, settled }
}

it('waits twice as long after each failure, up to a minute', async () => {
  const outcomes = Array.from({ length: 9 }, busy)
  const { clock, calls, waits, settled } = begin([...outcomes, 'done'])
  await clock.pass(600_000)
  await expect(settled).resolves.toEqual({ value: 'done' })
  expect(calls).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183, 243].map((seconds) => seconds * 1000))
  expect(waits).toEqual(calls.slice(0, -1))
})

it('throws what waiting does not mend at once', async () => {
  const { calls, waits, settled } = begin([full()])
  await expect(settled).resolves.toMatchObject({ error: { code: 'search-full' } })
  expect({ calls: calls.length, waits }).toEqual({ calls: 1, waits: [] })
})

it('a programming error is not tried again', async () => {
  const { settled } = begin([new TypeError('x')])
  await expect(settled).resolves.toEqual({ error: new TypeError('x') })
})

it('gives up after ten minutes of continuous trouble, with one last attempt at the end of them', async () => {
  const { clock, calls, settled } = begin([])
  await clock.pass(599_000)
  expect(calls.at(-1)).toBeLessThan(600_000)
  await clock.pass(2000)
  await expect(settled).resolves.toMatchObject({ error: { code: 'search-unreachable', retryable: true } })
  expect(calls.at(-1)).toBe(600_000)
})

it('ends at once when it is told to', async () => {
  const { clock, abort, settled } = begin([])
  await clock.pass(500)
  abort.abort(new Error('canceled'))
  await expect(settled).resolves.toEqual({ error: new Error('canceled') })
})
