import type { AgentEvent } from '../../shared/src/event.ts'
import type { JobResult } from '../../shared/src/protocol.ts'
import type { Clock } from '../../agent/src/report/clock.ts'
import type { Faults } from './scenario.ts'
import type { Oracle } from './oracle.ts'
import type { Random } from './random.ts'
import type { Simulation } from './simulation.ts'

/** What survives a crash: the journal, the orders that were seen, the outboxes. */
export interface Disk {
  /** The newest epoch of each job. */
  seen: Map<string, number>
  journals: Map<string, Entry>
  outboxes: Map<string, { job: string; epoch: number; events: AgentEvent[] }>
}

export interface Entry {
  job: string
  epoch: number
  fence: number
  target: string
  /** COMMIT may have been sent. */
  isCommitting: boolean
  result?: JobResult
}

function emptyDisk(): Disk {
  return { seen: new Map(), journals: new Map(), outboxes: new Map() }
}

export interface Machine {
  readonly name: string
  /** Two machines with one agent's name and key are a mistake that must do no harm. */
  readonly agent: string
  disk: Disk
  /** Cut off from the control plane until then. */
  cutUntilMs: number
  /** True while its agent runs a job or has something to tell. */
  isBusy: boolean
  readonly process: Process
}

/** One run of an agent, from its boot to its death. What waits in it waits through it, so that it can freeze and die. */
interface Process {
  readonly clock: Clock
  readonly random: Random
  readonly isAlive: boolean
  /** A place where it may freeze or die. */
  step(risk?: number): Promise<void>
  /** Goes on once it is not frozen; never, when it is dead. */
  thaw(): Promise<void>
  work(ms: number, signal: AbortSignal): Promise<void>
  onDeath(callback: () => void): void
}

interface MachineOptions {
  name: string
  agent: string
  simulation: Simulation
  random: Random
  faults: Faults
  oracle: Oracle
  /** Runs the agent in a new process. */
  boot(machine: Machine): Promise<void>
}

export function startMachine(options: MachineOptions): Machine {
  const { simulation, faults, oracle, name } = options
  const traits = { steps: options.random.chance(0.3), suspends: options.random.chance(0.5) }
  let frozenUntilMs = 0
  let monotonicLagMs = 0
  let wallOffsetMs = traits.steps ? 0 : options.random.between(-3e6, 3e6)
  let boots = 0
  let current: Process | undefined
  const machine: Machine = {
    name,
    agent: options.agent,
    disk: emptyDisk(),
    cutUntilMs: 0,
    isBusy: false,
    get process() {
      if (!current) throw new Error('the machine is off')
      return current
    },
  }

  const boot = (): void => {
    boots += 1
    current = createProcess(options.random.fork(`boot ${boots}`))
    simulation.start(async () => await options.boot(machine))
  }
  const freeze = (random: Random): void => {
    const ms = random.chance(0.5) ? random.between(1000, 60_000) : random.between(60_000, faults.longestFreezeMs)
    oracle.note(`${name} freezes for ${Math.round(ms / 1000)} s`)
    frozenUntilMs = simulation.nowMs() + ms
    if (faults.bothClocksStop) {
      monotonicLagMs += ms
      wallOffsetMs -= ms
    } else if (traits.suspends && !traits.steps) monotonicLagMs += ms
    // Set by hand, or by a time server that was out of reach; the other clock counts on.
    if (traits.steps && random.chance(0.5)) wallOffsetMs += random.between(-600_000, 600_000)
  }
  const die = (random: Random): void => {
    const ms = random.between(2000, 240_000)
    const forgets = faults.forgets && random.chance(0.5)
    oracle.note(`${name} dies for ${Math.round(ms / 1000)} s${forgets ? ' and forgets everything' : ''}`)
    simulation.start(async () => {
      await simulation.sleep(ms)
      if (forgets) machine.disk = emptyDisk()
      frozenUntilMs = 0
      boot()
    })
  }

  const createProcess = (random: Random): Process => {
    let isAlive = true
    const onDeath: (() => void)[] = []
    const thaw = async (): Promise<void> => {
      while (isAlive && simulation.nowMs() < frozenUntilMs) await simulation.sleep(frozenUntilMs - simulation.nowMs())
      // Whatever waits for it waits for ever, as one does for the dead.
      if (!isAlive) await new Promise<never>(() => undefined)
    }
    const clock: Clock = {
      monotonicMs: () => simulation.nowMs() - monotonicLagMs,
      now: () => new Date(simulation.nowMs() + wallOffsetMs),
      sleep: async (ms, signal) => {
        signal.throwIfAborted()
        const { promise, resolve } = Promise.withResolvers<void>()
        const awake = (): void => resolve()
        signal.addEventListener('abort', awake, { once: true })
        await Promise.race([simulation.sleep(ms), promise])
        signal.removeEventListener('abort', awake)
        await thaw()
        signal.throwIfAborted()
      },
    }
    return {
      clock,
      random,
      get isAlive() {
        return isAlive
      },
      thaw,
      step: async (risk = faults.risk) => {
        await thaw()
        if (!faults.areOn || !random.chance(risk)) return
        if (random.chance(faults.deaths)) {
          isAlive = false
          for (const callback of onDeath) callback()
          die(random)
        } else freeze(random)
        await thaw()
      },
      work: async (ms, signal) => await clock.sleep(ms, signal),
      onDeath: (callback) => void onDeath.push(callback),
    }
  }
  boot()
  return machine
}
