import { SyncError } from '@multiboard-sync/shared/sync-error'
import { systemClock } from '../report/clock.ts'
import { patiently, type Patience } from './patiently.ts'
import type { Typesense } from './typesense.ts'

const FIRST_LOOK_MS = 50
const MAX_LOOK_MS = 2000
/** Others write as well: a queue of one or two is empty in many moments, and has to be met in one. */
const LOOK_MS_EACH = 100
/** Without the queue becoming shorter. */
const GIVE_UP_AFTER_MS = 600_000
/** A queue that is empty in a moment is not worth telling of. */
const SILENT_MS = 1000

/**
 * Waits until the search server has worked through its queue of writes: before that, counts mean nothing, and what a cut
 * connection had sent may still arrive. Throws `search-unreachable` (retryable) when the queue has not become shorter for
 * too long.
 */
export async function waitUntilSettled(typesense: Pick<Typesense, 'queuedWrites'>, patience: Patience): Promise<void> {
  const { clock = systemClock, random = Math.random, giveUpAfterMs = GIVE_UP_AFTER_MS, signal } = patience
  const beginMs = clock.monotonicMs()
  let shortest = Number.POSITIVE_INFINITY
  let progressMs = beginMs
  for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(MAX_LOOK_MS, lookMs * 2)) {
    const queued = await patiently(async () => await typesense.queuedWrites(), patience)
    if (queued === 0) return
    const nowMs = clock.monotonicMs()
    if (queued < shortest) {
      shortest = queued
      progressMs = nowMs
    }
    const busy = new SyncError('search-unreachable', `The search server still has ${queued} writes in its queue.`, {
      hint: 'Wait until it has worked through them.',
      retryable: true,
    })
    if (nowMs - progressMs >= giveUpAfterMs) throw busy
    if (nowMs - beginMs >= SILENT_MS) patience.onWaiting(busy, nowMs - beginMs)
    // At odd moments, for the writes of others may have a rhythm.
    await clock.sleep(Math.round(Math.min(lookMs, queued * LOOK_MS_EACH) * (0.5 + random())), signal)
  }
}
