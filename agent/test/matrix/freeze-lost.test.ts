import { afterAll, beforeAll, test } from 'vitest'
import { openLane, type Lane } from './open-lane.ts'
import { openMatrix, type Matrix } from './open-matrix.ts'
import { nameOf, type Point } from './points.ts'
import { syncBy } from './subjects.ts'
import { tally } from './tally.ts'

/*
 * The agent stands still (SIGSTOP) at each step of its journal that lies before the swap, until its job reads as lost and
 * the target has been given to a newer job; then it wakes with everything it had. Frozen at the commit: crash-*.test.ts.
 */

/** Too short for any commit, and so it need not be: none of these jobs may come that far. */
const LEASE = { leaseMs: 2_000, graceMs: 500 }

const points: Point[] = [
  ...['accepted', 'archive-begun', 'archive-written', 'staging', 'staged', 'loaded', 'built', 'proven'].map(
    (step): Point => ({ step, where: 'before' }),
  ),
  { message: /PUT \S+\/archives\//, where: 'before' },
  { message: /PUT \S+\/backups\//, where: 'before' },
  { step: 'staging', message: /CREATE TABLE public/, where: 'after' },
  { message: /copy "multiboard_sync_stage/, where: 'after' },
  { message: /CREATE UNIQUE INDEX .* ON multiboard_sync_stage/, where: 'after' },
]

let lane: Lane
let matrix: Matrix

beforeAll(async () => {
  lane = await openLane(LEASE)
  matrix = await openMatrix(lane, syncBy(lane, 'swap'), { onlyBefore: true })
})
afterAll(async () => await lane[Symbol.asyncDispose]())

for (const point of points) {
  test(`T9, G3: frozen ${nameOf(point)} until it is lost, a swap never changes the target when it wakes`, async () => {
    await tally('swap', 'frozen until it is lost', async () => await matrix.supersede(point))
  })
}
