import { setTimeout as sleep } from 'node:timers/promises'

/** Time as the reporting sees it; tests put their own in. */
export interface Clock {
  /** Never goes back; says nothing about the time of day. Linux stops it while the machine is suspended. */
  monotonicMs(): number
  now(): Date
  /** Rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  // Not performance.now(), which counts from the start of its thread: all threads see this one alike.
  monotonicMs: () => Number(process.hrtime.bigint() / 1_000n) / 1_000,
  now: () => new Date(),
  sleep: async (ms, signal) => {
    try {
      await sleep(ms, undefined, { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw error
    }
  },
}
