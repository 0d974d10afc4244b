import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Session } from '../postgres/session.ts'
import { keepAwake } from './keep-awake.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function sessionOf(answer: () => Promise<void>): { session: Session; pings: () => number } {
  let pings = 0
  const query = async () => {
    pings += 1
    await answer()
    return []
  }
  return { session: { query } as unknown as Session, pings: () => pings }
}

test('An idle session is asked something every ten seconds, until it is let go', async () => {
  const { session, pings } = sessionOf(async () => undefined)
  const awake = keepAwake(session)
  await vi.advanceTimersByTimeAsync(35_000)
  expect(pings()).toBe(3)
  await awake[Symbol.asyncDispose]()
  await vi.advanceTimersByTimeAsync(35_000)
  expect(pings()).toBe(3)
})

test('It is let go only when its last question is answered, and asked nothing twice at a time', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { session, pings } = sessionOf(async () => await promise)
  const awake = keepAwake(session)
  await vi.advanceTimersByTimeAsync(35_000)
  expect(pings()).toBe(1)
  let isGone = false
  const gone = Promise.resolve(awake[Symbol.asyncDispose]()).then(() => void (isGone = true))
  await vi.advanceTimersByTimeAsync(0)
  expect(isGone).toBe(false)
  resolve()
  await gone
  expect(isGone).toBe(true)
})

test('A session that is lost is not asked again', async () => {
  const { session, pings } = sessionOf(async () => await Promise.reject(new Error('lost')))
  await using _ = keepAwake(session)
  await vi.advanceTimersByTimeAsync(35_000)
  expect(pings()).toBe(1)
})
