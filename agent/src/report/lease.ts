import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Clock } from './clock.ts'

/** The server counts from when it got the request; this much less makes up for clocks that do not run alike. */
const SAFETY_MS = 10_000
/** Of a short lease at most this share, or nothing of it would be left. */
const SAFETY_SHARE = 0.25

export interface Lease {
  /** Milliseconds until this agent must not change a target any more; 0 when it must not now. */
  remainingMs(): number
  /** Waits until at least `minMs` remain, renewing at once; after `maxWaitMs` rejects with `lease-lost`. */
  waitUntilValid(minMs: number, maxWaitMs: number, signal: AbortSignal): Promise<void>
}

/** For a local run, where no control plane hands out leases: fence and locks in the target still guard it. */
export const unlimitedLease: Lease = {
  remainingMs: () => Number.POSITIVE_INFINITY,
  waitUntilValid: async (_minMs, _maxWaitMs, signal) => signal.throwIfAborted(),
}

export interface LeaseKeeper {
  lease: Lease
  /** When a renewing request is sent: to be called before it, its result goes to `renewed`. */
  stamp(): LeaseStamp
  renewed(sent: LeaseStamp, leaseMs: number): void
  /** The lease is gone for good; who waits for it is told why. */
  lost(error: SyncError): void
}

interface LeaseStamp {
  monotonicMs: number
  wallMs: number
}

/** `renewNow` asks for a renewal at once. Both clocks count and the earlier end wins: one stops in suspend, one can be set. */
export function createLease(clock: Clock, renewNow: () => void): LeaseKeeper {
  let until: LeaseStamp = { monotonicMs: 0, wallMs: 0 }
  let lostBy: SyncError | undefined
  let changed = Promise.withResolvers<void>()
  const announce = (): void => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const stamp = (): LeaseStamp => ({ monotonicMs: clock.monotonicMs(), wallMs: clock.now().getTime() })
  const remainingMs = (): number => {
    if (lostBy) return 0
    const now = stamp()
    return Math.max(0, Math.min(until.monotonicMs - now.monotonicMs, until.wallMs - now.wallMs))
  }

  const waitUntilValid: Lease['waitUntilValid'] = async (minMs, maxWaitMs, signal) => {
    const untilMs = clock.monotonicMs() + maxWaitMs
    // Once: should even a fresh lease be too short, asking again at once would never end.
    if (remainingMs() < minMs) renewNow()
    for (;;) {
      signal.throwIfAborted()
      if (lostBy) throw lostBy
      if (remainingMs() >= minMs) return
      const leftMs = untilMs - clock.monotonicMs()
      if (leftMs <= 0) {
        throw new SyncError('lease-lost', 'The lease could not be renewed in time, so the target was left alone.', {
          hint: 'Check the connection to the control plane, then ask for the job again.',
        })
      }
      const awake = new AbortController()
      try {
        await Promise.race([changed.promise, clock.sleep(leftMs, AbortSignal.any([signal, awake.signal]))])
      } finally {
        awake.abort()
      }
    }
  }
  return {
    lease: { remainingMs, waitUntilValid },
    stamp,
    renewed: (sent, leaseMs) => {
      const usableMs = leaseMs - Math.min(SAFETY_MS, leaseMs * SAFETY_SHARE)
      until = { monotonicMs: sent.monotonicMs + usableMs, wallMs: sent.wallMs + usableMs }
      announce()
    },
    lost: (error) => {
      lostBy ??= error
      announce()
    },
  }
}
