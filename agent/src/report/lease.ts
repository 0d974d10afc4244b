import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Clock } from './clock.ts'
import { deadlineOf, type LeaseMemory, type LeaseStamp } from './lease-memory.ts'

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
  /** Another thread has renewed the lease: who waits for it looks again. */
  renewedElsewhere(): void
  /** The lease is gone for good; who waits for it is told why. */
  lost(error: SyncError): void
}

/**
 * `renewNow` asks for a renewal at once. Both clocks count and the earlier end wins: one stops in suspend, one can be set.
 * `elsewhere`: what another thread that renews the same lease has got.
 */
export function createLease(
  clock: Clock,
  renewNow: () => void,
  elsewhere?: Pick<LeaseMemory, 'remainingMs'>,
): LeaseKeeper {
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
    const ownMs = Math.min(until.monotonicMs - now.monotonicMs, until.wallMs - now.wallMs)
    return Math.max(0, ownMs, elsewhere?.remainingMs() ?? 0)
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
      until = deadlineOf(sent, leaseMs)
      announce()
    },
    renewedElsewhere: announce,
    lost: (error) => {
      lostBy ??= error
      announce()
    },
  }
}
