import type { Simulation } from './simulation.ts'

/*
 * Writes down what really happened, seen from outside, and says what must never happen. It knows nothing of how the control
 * plane and the agents come to their answers.
 */

export interface Held {
  job: string
  epoch: number
  fence: number
  target: string
}

export interface Oracle {
  /** An order left the control plane. */
  claimed(held: Held): void
  /** A request of this lease was answered with a yes, and renewed it or not. */
  answered(what: 'accept' | 'report' | 'complete', held: Held, now: { epoch: number; renewed: boolean }): void
  /** A target took a COMMIT. */
  committed(held: Held): void
  /** The control plane was put back to an old backup: what it has forgotten nobody can expect it to know. */
  restored(fences: ReadonlyMap<string, number>): void
  violation(text: string): void
  note(text: string): void
  readonly violations: readonly string[]
  readonly story: readonly string[]
  /** In the order of their commits. */
  readonly commits: readonly Held[]
}

interface OracleOptions {
  simulation: Simulation
  /** Lease and grace: after this without a renewal a job reads as lost. */
  lostAfterMs: number
  /** False where an agent's clocks may both stand still: then only fences and receipts protect. */
  clocksAreHonest: boolean
}

export function createOracle({ simulation, lostAfterMs, clocksAreHonest }: OracleOptions): Oracle {
  const violations: string[] = []
  const story: string[] = []
  const commits: Held[] = []
  const newest = new Map<string, number>()
  const newestLease = new Map<string, Held>()
  let isRestored = false
  const lostAt = new Map<string, number>()
  const startMs = simulation.nowMs()
  const note = (text: string): void => {
    story.push(`${((simulation.nowMs() - startMs) / 1000).toFixed(3).padStart(9)} s  ${text}`)
  }
  const violation = (text: string): void => {
    note(`VIOLATION: ${text}`)
    violations.push(text)
  }
  const renew = (held: Held): void => void lostAt.set(keyOf(held), simulation.nowMs() + lostAfterMs)
  return {
    violations,
    story,
    commits,
    note,
    violation,
    claimed: (held) => {
      const before = newest.get(held.target)
      note(`${named(held)} is leased on ${held.target}`)
      if (before !== undefined && held.fence < before) violation(`the fence of ${held.target} went back from ${before}`)
      newest.set(held.target, held.fence)
      newestLease.set(held.target, held)
      // The same order given again renews nothing.
      if (!lostAt.has(keyOf(held))) renew(held)
    },
    answered: (what, held, now) => {
      note(`${named(held)}: the control plane took ${what}`)
      const fence = newest.get(held.target)
      const lease = newestLease.get(held.target)
      // An old backup gives a job the same epoch again: its requests cannot be told apart, its changes can, by their fence.
      const isTwice = isRestored && lease?.job === held.job && lease.epoch === held.epoch
      if (fence !== undefined && fence > held.fence && !isTwice) {
        violation(`${what} of ${named(held)} was taken after ${held.target} was given to the fence ${fence}`)
      }
      if (now.epoch !== held.epoch) violation(`${what} of ${named(held)} was taken, whose epoch is now ${now.epoch}`)
      if (now.renewed) renew(held)
    },
    committed: (held) => {
      note(`${named(held)} COMMITS on ${held.target}`)
      const last = commits.findLast(({ target }) => target === held.target)
      if (last !== undefined && last.fence >= held.fence) {
        violation(`${named(held)} changed ${held.target} after ${named(last)}`)
      }
      if (commits.some(({ job }) => job === held.job)) violation(`${held.job} changed its target twice`)
      const until = lostAt.get(keyOf(held))
      if (clocksAreHonest && (until === undefined || simulation.nowMs() > until)) {
        violation(`${named(held)} changed ${held.target} while it read as lost`)
      }
      commits.push(held)
    },
    restored: (fences) => {
      isRestored = true
      newest.clear()
      for (const [target, fence] of fences) newest.set(target, fence)
    },
  }
}

function keyOf({ job, epoch, fence }: Held): string {
  return `${job}/${epoch}/${fence}`
}

function named({ job, epoch, fence }: Held): string {
  return `${job} (epoch ${epoch}, fence ${fence})`
}
