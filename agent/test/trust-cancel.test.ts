import { afterAll, beforeAll, expect, test } from 'vitest'
import { openLane, type Lane } from './matrix/open-lane.ts'
import { openMatrix, type Matrix } from './matrix/open-matrix.ts'
import { syncBy } from './matrix/subjects.ts'

/*
 * A real sync by a real agent is canceled at random moments. CANCELS=200 takes minutes; the everyday number finds what is
 * wrong at most moments. The seed is printed, and CANCEL_SEED repeats a run as far as the machine does.
 */

const CANCELS = Number(process.env['CANCELS'] ?? 8)
const SEED = Number(process.env['CANCEL_SEED'] ?? Date.now() % 1_000_000)
const PER_CANCEL_MS = 30_000

let lane: Lane
let matrix: Matrix

beforeAll(async () => {
  lane = await openLane({ leaseMs: 90_000, graceMs: 30_000 })
  matrix = await openMatrix(lane, syncBy(lane, 'swap'))
})
afterAll(async () => await lane[Symbol.asyncDispose]())

/** Numbers from 0 to 1 that look random (a linear congruential generator by Numerical Recipes). */
function numbersFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

test(
  'G8: a job canceled at any moment leaves its target untouched and no stage, or has swapped and says so',
  async () => {
    console.log(`Canceling ${CANCELS} jobs at random moments, seed ${SEED}.`)
    const random = numbersFrom(SEED)
    const whole = await matrix.cancelAfter('its end')
    expect(whole.state).toBe('succeeded')
    const durationMs = Date.parse(whole.finished_at ?? '') - Date.parse(whole.started_at ?? '')
    const states: string[] = []
    for (let n = 0; n < CANCELS; n += 1) {
      // One in each part of the job's time.
      const { state, phase } = await matrix.cancelAfter(((n + random()) / CANCELS) * 1.1 * durationMs)
      states.push(`${state} in ${phase}`)
    }
    console.log(`${states.join(', ')}; a whole job takes ${durationMs} ms.`)
    expect(states.some((state) => state.startsWith('canceled'))).toBe(true)
  },
  60_000 + CANCELS * PER_CANCEL_MS,
)
