import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, it } from 'vitest'
import { createVirtualClock } from '../report/testing/virtual-clock.ts'
import { waitUntilSettled } from './wait-until-settled.ts'

function begin(queue: (atMs: number) => number | Error) {
  const clock = createVirtualClock()
  const beginMs = clock.monotonicMs()
  const abort = new AbortController()
  let state = 7
  const random = (): number => (state = (state * 16807) % 2147483647) / 2147483647
  const told: number[] = []
  const server = {
    queuedWrites: async () => {
      const length = queue(clock.monotonicMs() - beginMs)
      if (typeof length === 'number') return length
      throw length
    },
  }
  const options = {
    signal: abort.signal,
    onWaiting: (_error: SyncError, ms: number) => void told.push(ms),
    clock,
    random,
  }
  const settled = waitUntilSettled(server, options).then(
    () => clock.monotonicMs() - beginMs,
    (error: unknown) => error,
  )
  return { clock, abort, told, settled }
}

it('an empty queue is not waited for', async () => {
  const { told, settled } = begin(() => 0)
  await expect(settled).resolves.toBe(0)
  expect(told).toEqual([])
})

it('waits for the queue to be empty and tells of it after a second', async () => {
  const { clock, told, settled } = begin((atMs) => Math.max(0, 178 - Math.floor(atMs / 300)))
  await clock.pass(120_000)
  expect(await settled).toBeGreaterThanOrEqual(178 * 300)
  expect(told[0]).toBeGreaterThanOrEqual(1000)
})

it('a short queue that is empty but now and then is met in such a moment', async () => {
  const { clock, settled } = begin((atMs) => (atMs > 20_000 && atMs % 1000 < 150 ? 0 : 2))
  await clock.pass(60_000)
  expect(await settled).toBeLessThan(25_000)
})

it('a server that is away in between is waited for', async () => {
  const away = new SyncError('search-unreachable', 'away', { retryable: true })
  const { clock, settled } = begin((atMs) => (atMs < 5000 ? 3 : atMs < 20_000 ? away : 0))
  await clock.pass(120_000)
  expect(await settled).toBeGreaterThanOrEqual(20_000)
})

it('gives up ten minutes after the queue last became shorter', async () => {
  const { clock, settled } = begin((atMs) => (atMs < 300_000 ? 5 : 4))
  await clock.pass(890_000)
  const early = await Promise.race([settled, Promise.resolve('waiting')])
  expect(early).toBe('waiting')
  await clock.pass(20_000)
  await expect(settled).resolves.toMatchObject({ code: 'search-unreachable', retryable: true })
})

it('ends at once when it is told to', async () => {
  const { clock, abort, settled } = begin(() => 1)
  await clock.pass(10_000)
  abort.abort(new Error('canceled'))
  await expect(settled).resolves.toEqual(new Error('canceled'))
})
