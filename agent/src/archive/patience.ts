import type { RetryOptions } from '@multiboard-sync/shared/retry'

/**
 * How long an outage of the store may last, beyond the SDK's own attempts. Those are over in a second or two, and in
 * minutes where a store takes what it is sent and is silent: then another round of them helps nobody.
 */
export type Patience = Omit<RetryOptions, 'signal' | 'onRetry'>

export const patientFor = {
  /** A store that restarts must not cost an export of an hour: 15 seconds. */
  upload: { attempts: 6, firstDelayMs: 500, maxDelayMs: 10_000, giveUpAfterMs: 60_000 },
  /** What can be asked again for nothing: 5 seconds. */
  request: { attempts: 5, firstDelayMs: 300, maxDelayMs: 5_000, giveUpAfterMs: 60_000 },
  /** A store that has never answered is most likely a wrong address, and somebody waits to hear so. */
  firstContact: { attempts: 1, firstDelayMs: 0, maxDelayMs: 0 },
} satisfies Record<string, Patience>
