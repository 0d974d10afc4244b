import { afterAll, beforeAll, test } from 'vitest'
import { openLane, type Lane } from './open-lane.ts'
import { openMatrix, type Matrix, type Subject } from './open-matrix.ts'
import { nameOf, type Point } from './points.ts'
import { tally } from './tally.ts'

export type Crash = (matrix: Matrix, point: Point, lane: Lane) => Promise<void>

/** What can happen to an agent, by the words that the table and the tests' names have for it. */
export const fates = {
  killed: async (matrix, point) => await matrix.kill(point),
  'killed with its end untold': async (matrix, point) => await matrix.killUntold(point),
  'cut off': async (matrix, point) => await matrix.cut(point),
  canceled: async (matrix, point) => await matrix.cancel(point),
  'canceled by its host': async (matrix, point) => await matrix.stop(point),
} satisfies Record<string, Crash>

/** Frozen for longer than its lease, counted from the point. */
export function frozenFor(ms: number): Crash {
  return async (matrix, point) => await matrix.freeze(point, ms)
}

/** What a fate proves, by the numbers of docs/SECURITY.md. */
const proofOf = (fate: string): string =>
  fate.startsWith('canceled') ? 'G8' : fate.startsWith('frozen') ? 'T9, G3' : 'G5'

/** One world for these crashes of one engine, one test for each point. */
export function crashes(
  engine: string,
  lease: { leaseMs: number; graceMs: number },
  open: (lane: Lane) => Subject | Promise<Subject>,
  crashed: [fate: string, crash: Crash, points: Point[]][],
): void {
  let lane: Lane
  let matrix: Matrix
  beforeAll(async () => {
    lane = await openLane(lease)
    matrix = await openMatrix(lane, await open(lane))
  })
  afterAll(async () => await lane[Symbol.asyncDispose]())
  for (const [fate, crash, points] of crashed) {
    for (const point of points) {
      test(`${proofOf(fate)}: ${fate} ${nameOf(point)}, ${engine} leaves the target ${point.leaves === 'after' ? 'changed' : 'as it was'}`, async () => {
        await tally(engine, fate, async () => await crash(matrix, point, lane))
      })
    }
  }
}
