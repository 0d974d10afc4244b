import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, it } from 'vitest'
import type { Clock } from '../report/clock.ts'
import { ControlPlaneError, unreachable } from './control-plane-error.ts'
import { keepCalling, retryDelayMs } from './retry-delay.ts'

it('waits twice as long after each failure, half of it by chance, up to 15 s', () => {
  const delays = [1, 2, 3, 4, 5, 60].map((failures) => retryDelayMs(unreachable('x'), failures, () => 1))
  expect(delays).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000])
  expect(retryDelayMs(unreachable('x'), 3, () => 0)).toBe(2000)
})

it('waits at least what Retry-After says, but never hours', () => {
  expect(retryDelayMs(unreachable('x', { retryAfterMs: 30_000 }), 1, () => 0)).toBe(30_000)
  expect(retryDelayMs(unreachable('x', { retryAfterMs: 9_000_000 }), 1, () => 0)).toBe(120_000)
  expect(retryDelayMs(new Error('x'), 1, () => 0)).toBe(500)
})

it('calls until there is an answer and gives up only on what is final', async () => {
  const slept: number[] = []
  const clock: Clock = {
    monotonicMs: () => 0,
    now: () => new Date(0),
    sleep: async (ms) => {
      slept.push(ms)
    },
  }
  const options = { signal: new AbortController().signal, clock, random: () => 1 }
  const failures: SyncError[] = [unreachable('a'), unreachable('b', { retryAfterMs: 5000 })]
  await expect(
    keepCalling(options, async () => {
      const failure = failures.shift()
      if (failure) throw failure
      return 'answer'
    }),
  ).resolves.toBe('answer')
  expect(slept).toEqual([1000, 5000])
  const final = new ControlPlaneError('unauthorized', 'no')
  await expect(keepCalling(options, async () => await Promise.reject(final))).rejects.toBe(final)
})
