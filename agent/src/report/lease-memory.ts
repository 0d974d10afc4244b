import { systemClock, type Clock } from './clock.ts'

/*
 * What both threads of a running job know of its lease, in memory that they share: numbers only, each read and written
 * atomically, none of them computed from another, so there is nothing to lock. Only the lease's thread writes the deadline
 * that it has got, only the main thread writes phase, movement and turns; of the newest renewal the later one stays.
 */

/** The server counts from when it got the request; this much less makes up for clocks that do not run alike. */
const SAFETY_MS = 10_000
/** Of a short lease at most this share, or nothing of it would be left. */
const SAFETY_SHARE = 0.25

/** A lease is 90 s: four renewals may fail before it is in danger. A shorter lease is renewed as often during its time. */
const RENEW_EVERY_MS = 20_000
const RENEWALS_PER_LEASE = 4
const RENEW_AT_MOST_EVERY_MS = 1_000

/** Milliseconds of both clocks of this machine; all threads of a process have the same. */
export interface LeaseStamp {
  monotonicMs: number
  wallMs: number
}

const [RENEWED_AT, LEASE_MS, UNTIL_MONOTONIC, UNTIL_WALL, MOVED_AT, PHASE, TURNED_AT, SLOTS] = [0, 1, 2, 3, 4, 5, 6, 7]

export type LeaseMemory = ReturnType<typeof openLeaseMemory>

/** `buffer`: what another thread has opened. */
export function openLeaseMemory(
  clock: Pick<Clock, 'monotonicMs' | 'now'> = systemClock,
  buffer: SharedArrayBuffer = new SharedArrayBuffer(SLOTS * BigInt64Array.BYTES_PER_ELEMENT),
) {
  const slots = new BigInt64Array(buffer)
  const read = (slot: number): number => Number(Atomics.load(slots, slot))
  const write = (slot: number, value: number): void => void Atomics.store(slots, slot, BigInt(Math.round(value)))
  const sinceMs = (slot: number): number => Math.max(0, clock.monotonicMs() - read(slot))
  return {
    buffer,
    stamp: (): LeaseStamp => ({ monotonicMs: clock.monotonicMs(), wallMs: clock.now().getTime() }),
    /** A renewal that was sent then has succeeded, whichever thread sent it. */
    noteRenewal: (sent: LeaseStamp, leaseMs: number): void => {
      write(RENEWED_AT, Math.max(read(RENEWED_AT), sent.monotonicMs))
      write(LEASE_MS, leaseMs)
    },
    sinceRenewalMs: (): number => sinceMs(RENEWED_AT),
    /** Of the newest renewal; 0 before the first. */
    leaseMs: (): number => read(LEASE_MS),
    /** By the lease's thread: how long the lease lasts that it has got. */
    setDeadline: ({ monotonicMs, wallMs }: LeaseStamp): void => {
      write(UNTIL_MONOTONIC, monotonicMs)
      write(UNTIL_WALL, wallMs)
    },
    /** What remains of it, by the clock that says less. */
    remainingMs: (): number =>
      Math.max(0, Math.min(read(UNTIL_MONOTONIC) - clock.monotonicMs(), read(UNTIL_WALL) - clock.now().getTime())),
    noteMovement: (): void => write(MOVED_AT, clock.monotonicMs()),
    stalledMs: (): number => sinceMs(MOVED_AT),
    /** A phase's place in the list of phases. */
    setPhase: (index: number): void => write(PHASE, index),
    phase: (): number => read(PHASE),
    /** The main thread's event loop has turned. */
    noteTurn: (): void => write(TURNED_AT, clock.monotonicMs()),
    sinceTurnMs: (): number => sinceMs(TURNED_AT),
  }
}

/** The end of a lease whose renewal was sent then: the larger elapsed of both clocks counts, so each has its own. */
export function deadlineOf(sent: LeaseStamp, leaseMs: number): LeaseStamp {
  const usableMs = leaseMs - Math.min(SAFETY_MS, leaseMs * SAFETY_SHARE)
  return { monotonicMs: sent.monotonicMs + usableMs, wallMs: sent.wallMs + usableMs }
}

/** How often a lease of this length is renewed while there is nothing else to say. */
export function renewEveryMs(leaseMs: number): number {
  return Math.min(RENEW_EVERY_MS, Math.max(RENEW_AT_MOST_EVERY_MS, leaseMs / RENEWALS_PER_LEASE))
}
