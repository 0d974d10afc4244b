import type { ControlPlane } from '../../control-plane/src/control-plane.ts'
import type { OrderSigner } from '../../control-plane/src/orders/order-signer.ts'
import { defaultRateLimits } from '../../control-plane/src/web/limit-rate.ts'
import { checkEnd, isSettled } from './check-end.ts'
import { startMachine } from './machine.ts'
import type { Lane } from './open-lane.ts'
import { createOracle } from './oracle.ts'
import { startPeople } from './people.ts'
import { createRandom } from './random.ts'
import { runAgent } from './run-agent.ts'
import { createSaboteur, type Sabotage } from './sabotage.ts'
import { chooseScenario, type Kind } from './scenario.ts'
import { createSimulation } from './simulation.ts'
import { openVirtualDatabase } from './virtual-time.ts'
import type { World } from './world.ts'

/*
 * One history: people ask for syncs, agents with the real lease, fence and receipt do them against the real control plane,
 * while processes freeze and die, machines are cut off, messages get lost or come twice, connections break at COMMIT, and now
 * and then the control plane is put back to an old backup. Then all faults stop, and everything has to come to an end.
 */

const LEASE = { leaseMs: 90_000, graceMs: 30_000 }
/** An agent that is back has to find its way, and what was lost to read as lost. Orders expire after half an hour. */
const CALM_MS = 90 * 60_000

/** Where what is taken out is missed: elsewhere something else protects, too. */
const KINDS_WITHOUT: Record<Sabotage, readonly Kind[]> = {
  fence: ['paused'],
  receipt: ['requeued'],
  deadline: ['ordinary'],
  superseded: ['ordinary'],
  epoch: ['requeued'],
}

interface History {
  seed: number
  violations: readonly string[]
  /** What happened, a line each. */
  story: readonly string[]
  commits: number
  /** How often something was taken out by a sabotage. */
  sabotaged: number
}

export async function playHistory(lane: Lane, seed: number, sabotage?: Sabotage): Promise<History> {
  await lane.clear()
  const random = createRandom(`history ${seed}`)
  const scenario = chooseScenario(random.fork('scenario'), sabotage && KINDS_WITHOUT[sabotage])
  const simulation = createSimulation()
  const saboteur = createSaboteur(sabotage)
  const oracle = createOracle({
    simulation,
    lostAfterMs: LEASE.leaseMs + LEASE.graceMs,
    clocksAreHonest: !scenario.faults.bothClocksStop,
  })
  const startMs = simulation.nowMs()
  const world: World = {
    simulation,
    scenario,
    random,
    oracle,
    saboteur,
    control: controlPlaneOf(lane, simulation.nowMs, saboteur),
    targets: new Map(
      [...lane.targets].map(([name, place]) => [
        name,
        { ...place, clockOffsetMs: random.fork(`clock of ${name}`).between(-3e6, 3e6) },
      ]),
    ),
    machines: [],
  }
  for (const { name, agent } of scenario.machines) {
    const boot = async (machine: Parameters<typeof runAgent>[1]): Promise<void> => await runAgent(world, machine)
    world.machines.push(
      startMachine({ name, agent, simulation, random: random.fork(name), faults: scenario.faults, oracle, boot }),
    )
  }
  const people = startPeople(world)
  const chaosUntilMs = startMs + scenario.chaosMs
  await simulation.run(chaosUntilMs, () => oracle.violations.length > 0)
  oracle.note('all faults stop')
  scenario.faults.areOn = false
  const isIdle = (): boolean => world.machines.every(({ process, isBusy }) => process.isAlive && !isBusy)
  for (let untilMs = chaosUntilMs; untilMs < chaosUntilMs + CALM_MS && oracle.violations.length === 0;) {
    untilMs += 60_000
    await simulation.run(untilMs, () => oracle.violations.length > 0)
    if (isIdle() && (await isSettled(world))) break
  }
  if (oracle.violations.length === 0) await checkEnd(world, people)
  for (const { pool } of lane.targets.values()) await pool.takeBackAll()
  const { violations, story, commits } = oracle
  return { seed, violations, story, commits: commits.length, sabotaged: saboteur.done }
}

function controlPlaneOf(lane: Lane, nowMs: () => number, saboteur: World['saboteur']): ControlPlane {
  const needed: Partial<Omit<ControlPlane, 'signer'>> & { signer: Partial<OrderSigner> } = {
    database: openVirtualDatabase(lane.control, nowMs, saboteur),
    // Who may sign is proven elsewhere; here it only costs time.
    signer: { kid: 'none', sign: async (order) => JSON.stringify(order), signOwn: unused, verifyOwn: unused },
    origin: 'https://sync.example.com',
    lease: LEASE,
    limits: defaultRateLimits,
  }
  // The functions that histories call look at nothing else.
  return needed as ControlPlane
}

const unused = async (): Promise<never> => await Promise.reject(new Error('histories have no tickets'))
