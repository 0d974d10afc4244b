export type GateName = 'store' | 'source' | 'target'

/** Where in a job something happens to the agent. */
export interface Point {
  /** The last line of the job's journal is this step. */
  step?: string
  /** Of the message that is stopped; absent: the first one after that line, but for Terminate. */
  message?: RegExp
  /** On its way to this one; absent: whichever. */
  gate?: GateName
  /** The message does not reach the server, or its answer does not reach the agent. */
  where: 'before' | 'after'
  /** What the target must be as afterwards; `before` unless told. */
  leaves?: 'before' | 'after'
  /** So many that match are let pass first. */
  skip?: number
  /** All tables, of which one takes a multipart upload, and so do those of the safety backup. */
  isBig?: boolean
  /** A new sync is tried afterwards. */
  isFollowed?: boolean
}

export function nameOf({ step, message, where, skip = 0 }: Point): string {
  const told = message === undefined ? 'the first message' : `message ${skip + 1} of ${String(message)}`
  return `${where === 'before' ? 'before' : 'with no answer to'} ${told}${step === undefined ? '' : ` after '${step}'`}`
}

/** Both sides of the first message after each step. */
export function around(steps: string[], more: Omit<Point, 'step' | 'where'> = {}): Point[] {
  return steps.flatMap((step) => [
    { ...more, step, where: 'before' },
    { ...more, step, where: 'after' },
  ])
}

/** It has no answer, and nothing hangs on it. */
export const TERMINATE = 'X\0\0\0\u0004'

/** For the steps after which there is nothing else. */
export const TERMINATED = /^X.{4}$/s

/** An exchange wants 15 s of the three quarters that count. */
export const EXCHANGE_LEASE = { leaseMs: 24_000, graceMs: 1_000 }
/** Three quarters, and a little. */
export const PAST_EXCHANGE_LEASE_MS = 19_000
/** The other engines want 5 s. */
export const LEASE = { leaseMs: 9_000, graceMs: 1_000 }
export const PAST_LEASE_MS = 8_000

/** COMMIT and the check of the deadline are one message. */
export const COMMIT = /lease deadline/
/** Asked right before. */
export const CLOCK = /select clock_timestamp\(\)::text/
