import type { Random } from './random.ts'

/** What may go wrong in a history. Switched off at its end, so that it can be seen whether everything settles. */
export interface Faults {
  areOn: boolean
  /** Of each place where a process can be stopped. */
  risk: number
  /** Of the place between the lease and the swap, where only the fence is left. */
  riskAtSwap: number
  /** Of those stops: how many are deaths, the others being freezes. */
  deaths: number
  longestFreezeMs: number
  /** A machine that is paused by its host: both of its clocks stand still, and nothing on it can know. */
  bothClocksStop: boolean
  /** A machine that dies may come back with an empty disk. */
  forgets: boolean
  /** Of a request to the control plane, each. */
  requestLost: number
  replyLost: number
  duplicated: number
  /** The connection to the target breaks at COMMIT, before or after it. */
  commitCut: number
}

export interface Scenario {
  chaosMs: number
  machines: { name: string; agent: string }[]
  targets: string[]
  jobs: number
  /** Of the jobs asked for. */
  canceled: number
  /** Of phases: long ones outlive leases, short ones crowd together. */
  longestPhaseMs: number
  /** False: the advisory lock on the target helps nobody, and the fence must do alone. */
  usesLock: boolean
  /** The control plane's database is put back to a backup that is minutes old. */
  isRestored: boolean
  /** Somebody puts lost jobs back into the queue by hand. */
  isRequeued: boolean
  faults: Faults
}

const ALL_KINDS: readonly Kind[] = ['ordinary', 'ordinary', 'ordinary', 'restored', 'paused', 'requeued']

/** What is rare in life and tells most: an old backup, a machine that stands still, a job put back by hand. */
export type Kind = 'ordinary' | 'restored' | 'paused' | 'requeued'

export function chooseScenario(random: Random, kinds: readonly Kind[] = ALL_KINDS): Scenario {
  const kind = random.pick(kinds)
  const agents = ['a', 'b', 'c'].slice(0, random.integer(2, 3))
  const machines = agents.map((agent) => ({ name: agent, agent }))
  if (random.chance(kind === 'requeued' ? 0.7 : 0.1)) machines.push({ name: 'a-twin', agent: 'a' })
  const risk = random.pick([0.002, 0.01, 0.03])
  return {
    chaosMs: random.between(8, 25) * 60_000,
    machines,
    targets: random.chance(0.7) ? ['t1'] : ['t1', 't2'],
    jobs: random.integer(3, 6),
    canceled: random.pick([0, 0, 0.3]),
    longestPhaseMs: random.pick([2000, 20_000, 60_000]),
    usesLock: random.chance(0.5),
    isRestored: kind === 'restored',
    isRequeued: kind === 'requeued',
    faults: {
      areOn: true,
      risk,
      riskAtSwap: kind === 'paused' ? 0.4 : 2 * risk,
      deaths: random.pick([0, 0.3, 0.7]),
      longestFreezeMs: random.pick([150_000, 400_000]),
      bothClocksStop: kind === 'paused',
      forgets: kind === 'restored' && random.chance(0.5),
      requestLost: random.pick([0, 0.05, 0.2]),
      replyLost: random.pick([0, 0.05, 0.2]),
      duplicated: random.pick([0, 0.1]),
      commitCut: random.pick([0, 0.1, 0.3]),
    },
  }
}
