import type { Clock } from '../clock.ts'

export interface VirtualClock extends Clock {
  /** Lets this much time pass: whoever sleeps wakes in order, and what they do in between is waited for. */
  pass(ms: number): Promise<void>
}

interface Sleeper {
  untilMs: number
  wake(): void
}

/** A minute in a few milliseconds. Work between two sleeps may take promises and ticks, but no real time. */
export function createVirtualClock(startAt = Date.parse('2026-11-22T12:00:00Z')): VirtualClock {
  let nowMs = 1000
  const sleepers = new Set<Sleeper>()
  const settle = async (): Promise<void> => {
    for (let round = 0; round < 8; round += 1) await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    monotonicMs: () => nowMs,
    now: () => new Date(startAt + nowMs),
    sleep: async (ms, signal) => {
      signal.throwIfAborted()
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const sleeper = { untilMs: nowMs + ms, wake: resolve }
      const onAbort = (): void => reject(signal.reason)
      sleepers.add(sleeper)
      signal.addEventListener('abort', onAbort, { once: true })
      try {
        await promise
      } finally {
        sleepers.delete(sleeper)
        signal.removeEventListener('abort', onAbort)
      }
    },
    pass: async (ms) => {
      const untilMs = nowMs + ms
      for (;;) {
        await settle()
        const [next] = [...sleepers].toSorted((a, b) => a.untilMs - b.untilMs)
        if (!next || next.untilMs > untilMs) break
        nowMs = Math.max(nowMs, next.untilMs)
        sleepers.delete(next)
        next.wake()
      }
      nowMs = untilMs
    },
  }
}
