import { toSyncError, type SyncError } from '@multiboard-sync/shared/sync-error'
import { systemClock, type Clock } from '../report/clock.ts'

const FIRST_DELAY_MS = 1000
/** Typesense asks to be left alone for 10 to 60 s when it lags behind. */
const MAX_DELAY_MS = 60_000
/** Longer than a restart that replays millions of documents. */
const GIVE_UP_AFTER_MS = 600_000

export interface Patience {
  signal: AbortSignal
  /** Told before each wait, with how long the trouble has lasted. */
  onWaiting: (error: SyncError, waitedMs: number) => void
  /** Of continuous trouble. Default 10 minutes. */
  giveUpAfterMs?: number
  clock?: Clock
  random?: () => number
}

/**
 * Does the work again while its errors are retryable: after 1 s, 2 s, 4 s … 60 s, with jitter. Throws what is not retryable,
 * the last error when the trouble has lasted too long, and the signal's reason. The work must be fit to be done twice.
 */
export async function patiently<T>(work: () => Promise<T>, patience: Patience): Promise<T> {
  const { signal, clock = systemClock, random = Math.random, giveUpAfterMs = GIVE_UP_AFTER_MS } = patience
  let sinceMs: number | undefined
  for (let failures = 1; ; failures += 1) {
    signal.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      const known = toSyncError(error)
      const nowMs = clock.monotonicMs()
      sinceMs ??= nowMs
      if (!known.retryable || nowMs - sinceMs >= giveUpAfterMs) throw error
      patience.onWaiting(known, nowMs - sinceMs)
      const ceilingMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures - 1, 30))
      const delayMs = Math.round(ceilingMs / 2 + (random() * ceilingMs) / 2)
      await clock.sleep(Math.min(delayMs, sinceMs + giveUpAfterMs - nowMs), signal)
    }
  }
}
