import { setTimeout as sleep } from 'node:timers/promises'
import { toSyncError } from './sync-error.ts'

export interface RetryOptions {
  signal: AbortSignal
  /** Calls in all. Infinity is allowed. */
  attempts: number
  firstDelayMs: number
  maxDelayMs: number
  /** No call begins later than this after the first has begun: calls that end by a timeout of their own are not many. */
  giveUpAfterMs?: number
  /** Told before each wait. */
  onRetry?: (error: unknown, attempt: number, delayMs: number) => void
}

/**
 * Calls `attempt` until it succeeds, an error is not retryable, or the attempts are used up; then throws the last error.
 * Waits between calls grow twofold with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").
 */
export async function retry<T>(options: RetryOptions, attempt: (n: number) => Promise<T>): Promise<T> {
  const lastBeginMs = performance.now() + (options.giveUpAfterMs ?? Number.POSITIVE_INFINITY)
  for (let n = 1; ; n += 1) {
    try {
      return await attempt(n)
    } catch (error) {
      options.signal.throwIfAborted()
      if (n >= options.attempts || !toSyncError(error).retryable) throw error
      const ceilingMs = Math.min(options.maxDelayMs, options.firstDelayMs * 2 ** (n - 1))
      const delayMs = Math.round(ceilingMs / 2 + (Math.random() * ceilingMs) / 2)
      if (performance.now() + delayMs > lastBeginMs) throw error
      options.onRetry?.(error, n, delayMs)
      await sleep(delayMs, undefined, { signal: options.signal }).catch(() => undefined)
      // The wait's own AbortError would hide the reason.
      options.signal.throwIfAborted()
    }
  }
}
