import { afterAll, beforeAll, test } from 'vitest'
import { openLane, type Lane } from './open-lane.ts'
import { openMatrix, type Matrix } from './open-matrix.ts'
import { around, CLOCK, COMMIT, nameOf, type Point } from './points.ts'
import { syncBy } from './subjects.ts'
import { tally } from './tally.ts'

/** An exchange wants 15 s of the three quarters that count. */
const LEASE = { leaseMs: 24_000, graceMs: 1_000 }

let lane: Lane
let matrix: Matrix

beforeAll(async () => {
  lane = await openLane(LEASE)
  matrix = await openMatrix(lane, syncBy(lane, 'swap'))
})
afterAll(async () => await lane[Symbol.asyncDispose]())

const points: Point[] = [
  ...around(['accepted', 'archive-begun', 'archive-written', 'staging', 'staged']),
  ...around(['backup-written', 'loaded', 'built', 'proven', 'committing']),
  { message: CLOCK, where: 'before' },
  { message: COMMIT, where: 'before', isFollowed: true },
  { message: COMMIT, where: 'after', leaves: 'after', isFollowed: true },
  ...around(['committed', 'tidied'], { leaves: 'after' }),
]

for (const point of points) {
  test(`killed ${nameOf(point)}, a swap leaves the target whole`, async () => {
    await tally('swap', 'killed', async () => await matrix.kill(point))
  })
}
