import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { systemClock, type Clock } from '../report/clock.ts'
import { ControlPlaneError } from './control-plane-error.ts'

const FIRST_DELAY_MS = 1_000
/** Short enough that a lease of 90 s survives an outage that ends in time, long enough to leave a sick server alone. */
const MAX_DELAY_MS = 15_000
/** A Retry-After of hours, by mistake or by malice, must not silence the agent. */
const MAX_RETRY_AFTER_MS = 120_000
/** Only a person can let a revoked agent in again; it should not take them more than a coffee to see it come back. */
const REVOKED_DELAY_MS = 300_000

/** How long to wait after the n-th failure in a row (from 1): twofold growth with jitter, at least what Retry-After says. */
export function retryDelayMs(error: unknown, failures: number, random: () => number = Math.random): number {
  if (error instanceof SyncError && error.code === 'agent-revoked') return REVOKED_DELAY_MS
  const ceilingMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures - 1, 30))
  const backoffMs = Math.round(ceilingMs / 2 + (random() * ceilingMs) / 2)
  const retryAfterMs = error instanceof ControlPlaneError ? (error.retryAfterMs ?? 0) : 0
  return Math.max(backoffMs, Math.min(retryAfterMs, MAX_RETRY_AFTER_MS))
}

export interface KeepCallingOptions {
  signal: AbortSignal
  /** What is waited out; by default what is retryable. */
  isPassing?: (error: SyncError) => boolean
  clock?: Clock
  random?: () => number
  /** Told before each wait, for the agent's own log. */
  onRetry?: (error: unknown, failures: number, delayMs: number) => void
}

/** Calls until the control plane answers: errors that pass are waited out until the signal aborts, others are thrown. */
export async function keepCalling<T>(options: KeepCallingOptions, call: () => Promise<T>): Promise<T> {
  const { signal, clock = systemClock, random, isPassing = ({ retryable }) => retryable } = options
  for (let failures = 1; ; failures += 1) {
    try {
      return await call()
    } catch (error) {
      signal.throwIfAborted()
      if (!isPassing(toSyncError(error))) throw error
      const delayMs = retryDelayMs(error, failures, random)
      options.onRetry?.(error, failures, delayMs)
      await clock.sleep(delayMs, signal)
    }
  }
}
