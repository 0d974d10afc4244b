import { afterAll, beforeAll, expect, test } from 'vitest'
import { openLane, type Lane } from './matrix/open-lane.ts'
import { openMatrix, type Matrix } from './matrix/open-matrix.ts'
import { COMMIT, EXCHANGE_LEASE, PAST_EXCHANGE_LEASE_MS, type Point } from './matrix/points.ts'
import { syncBy, undoOfSwap } from './matrix/subjects.ts'

/*
 * The most telling points of the crash matrix (matrix/), for every day: at each the target is as before or as after, in its
 * rows, its definitions and what depends on what, the job says which, and the next boot leaves nothing of it.
 */

let lane: Lane
let swap: Matrix
/** It takes a lease's time, in which the others are at work. */
let frozen: Promise<void>

beforeAll(async () => {
  frozen = freezeAtTheSwap()
  frozen.catch(() => undefined)
  lane = await openLane(EXCHANGE_LEASE)
  swap = await openMatrix(lane, syncBy(lane, 'swap'))
})
afterAll(async () => {
  await frozen.catch(() => undefined)
  await lane[Symbol.asyncDispose]()
})

async function freezeAtTheSwap(): Promise<void> {
  await using other = await openLane(EXCHANGE_LEASE)
  const matrix = await openMatrix(other, syncBy(other, 'swap'), { onlyBefore: true })
  await matrix.freeze({ message: COMMIT, where: 'before' }, PAST_EXCHANGE_LEASE_MS)
}

test('G5: an agent killed while it makes the stage leaves the live tables where they were', async () => {
  await swap.kill({ step: 'staging', message: /set schema "multiboard_sync_hold/, where: 'after' })
})

test('G5: killed when the swap is done but for its COMMIT, it has changed nothing', async () => {
  await swap.kill({ message: COMMIT, where: 'before' })
})

test("G5: killed when the swap's COMMIT was sent, it has succeeded, and the next boot validates the keys", async () => {
  await swap.kill({ message: COMMIT, where: 'after', leaves: 'after' })
})

test('G5: cut off while keys are validated, it has succeeded, too; the rest is done at its next boot, and by the next sync', async () => {
  const validating: Point = { step: 'committed', message: /validate constraint/, where: 'before', leaves: 'after' }
  await swap.cut({ ...validating, isFollowed: true })
})

test("when the answer to the swap's COMMIT is lost, the receipt decides", async () => {
  await swap.cut({ message: COMMIT, where: 'after', leaves: 'after' })
})

test("when the answer to an undo's COMMIT is lost, likewise", async () => {
  const undo = await openMatrix(lane, await undoOfSwap(lane))
  await undo.cut({ message: COMMIT, where: 'after', leaves: 'after' })
})

test('T9, G3: an agent that was frozen at the swap for longer than its lease does not swap when it wakes', async () => {
  await expect(frozen).resolves.toBeUndefined()
})
