import { expect, test, vi } from 'vitest'
import { retry } from './retry.ts'
import { SyncError } from './sync-error.ts'

const again = new SyncError('storage-unreachable', 'Away.', { retryable: true })
const options = { signal: new AbortController().signal, attempts: 3, firstDelayMs: 1, maxDelayMs: 2 }

test('calls until it succeeds, and tells before each wait', async () => {
  const onRetry = vi.fn<(error: unknown, attempt: number, delayMs: number) => void>()
  const result = await retry({ ...options, onRetry }, async (n) => {
    if (n < 3) throw again
    return `call ${n}`
  })
  expect(result).toBe('call 3')
  expect(onRetry.mock.calls.map(([error, attempt]) => [error, attempt])).toEqual([
    [again, 1],
    [again, 2],
  ])
})

test('gives up with the last error after the attempts', async () => {
  const attempt = vi.fn<() => Promise<never>>().mockRejectedValue(again)
  await expect(retry(options, attempt)).rejects.toBe(again)
  expect(attempt).toHaveBeenCalledTimes(3)
})

test('does not call again what cannot succeed', async () => {
  const attempt = vi.fn<() => Promise<never>>().mockRejectedValue(new Error('unexpected'))
  await expect(retry(options, attempt)).rejects.toThrow('unexpected')
  expect(attempt).toHaveBeenCalledTimes(1)
})

test('waits longer each time, up to the longest wait, and never less than half of it', async () => {
  const waits: number[] = []
  const onRetry = (_: unknown, __: number, delayMs: number): void => void waits.push(delayMs)
  const many = { ...options, attempts: 6, firstDelayMs: 2, maxDelayMs: 8, onRetry }
  await expect(retry(many, async () => await Promise.reject(again))).rejects.toBe(again)
  const ceilings = [2, 4, 8, 8, 8]
  expect(waits).toHaveLength(ceilings.length)
  for (const [index, ceiling] of ceilings.entries()) {
    expect(waits[index]).toBeGreaterThanOrEqual(ceiling / 2)
    expect(waits[index]).toBeLessThanOrEqual(ceiling)
  }
})

test('an abort ends the wait at once, with its reason', async () => {
  const stop = new AbortController()
  const reason = new SyncError('canceled', 'Stopped.')
  const waiting = retry(
    {
      ...options,
      signal: stop.signal,
      firstDelayMs: 3_600_000,
      maxDelayMs: 3_600_000,
      onRetry: () => stop.abort(reason),
    },
    async () => await Promise.reject(again),
  )
  await expect(waiting).rejects.toThrow(expect.objectContaining({ code: 'canceled' }))
})

test('begins no further call when the time for it is over, however many attempts are left', async () => {
  const attempt = vi.fn<() => Promise<never>>(async () => {
    await new Promise((done) => setTimeout(done, 40))
    throw again
  })
  await expect(retry({ ...options, giveUpAfterMs: 20 }, attempt)).rejects.toBe(again)
  expect(attempt).toHaveBeenCalledTimes(1)
})
