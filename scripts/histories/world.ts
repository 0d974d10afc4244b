import type { ControlPlane } from '../../control-plane/src/control-plane.ts'
import type { ClientPool } from './client-pool.ts'
import type { Machine } from './machine.ts'
import type { Oracle } from './oracle.ts'
import type { Random } from './random.ts'
import type { Saboteur } from './sabotage.ts'
import type { Scenario } from './scenario.ts'
import type { Simulation } from './simulation.ts'

/** A target database: where it is, and how wrong its server's clock is. */
interface Place {
  url: string
  pool: ClientPool
  clockOffsetMs: number
}

/** All that the parts of one history share. */
export interface World {
  simulation: Simulation
  scenario: Scenario
  random: Random
  oracle: Oracle
  saboteur: Saboteur
  control: ControlPlane
  targets: ReadonlyMap<string, Place>
  machines: Machine[]
}
