import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { openLane, type Lane } from '../../scripts/histories/open-lane.ts'
import { playHistory } from '../../scripts/histories/play-history.ts'
import { sabotages } from '../../scripts/histories/sabotage.ts'

/** `pnpm histories --runs 10000` plays more. */
const RUNS = 300
/** A history waits for PostgreSQL most of the time. */
const LANES = 3
const PLAY_TIMEOUT_MS = 240_000
/** What is taken out must be missed within so many histories of the kind in which it matters. */
const FOUND_WITHIN = 150

async function openTestLane(): Promise<Lane & AsyncDisposable> {
  await using opened = new AsyncDisposableStack()
  const urls = new Map<string, string>()
  for (const name of ['control', 't1', 't2']) urls.set(name, opened.use(await createDatabase()).url)
  const lane = opened.use(await openLane((name) => urls.get(name) ?? ''))
  const resources = opened.move()
  return { ...lane, [Symbol.asyncDispose]: async () => await resources.disposeAsync() }
}

test(
  `G1: in ${RUNS} histories of freezes, deaths and lost messages a target is changed by one job at a time, each at most once`,
  { timeout: PLAY_TIMEOUT_MS },
  async () => {
    await using opened = new AsyncDisposableStack()
    const lanes: Lane[] = []
    for (let n = 0; n < LANES; n += 1) lanes.push(opened.use(await openTestLane()))
    let next = 1
    let commits = 0
    const play = async (lane: Lane): Promise<void> => {
      while (next <= RUNS) {
        const seed = next
        next += 1
        const history = await playHistory(lane, seed)
        commits += history.commits
        expect(history.violations, `seed ${seed}\n${history.story.join('\n')}`).toEqual([])
      }
    }
    await Promise.all(lanes.map(play))
    // A history in which nothing happens proves nothing.
    expect(commits).toBeGreaterThan(RUNS)
  },
)

test.each(sabotages)('G1: the histories break when %s is taken out', { timeout: PLAY_TIMEOUT_MS }, async (sabotage) => {
  await using lane = await openTestLane()
  for (let seed = 1; seed <= FOUND_WITHIN; seed += 1) {
    const { violations } = await playHistory(lane, seed, sabotage)
    if (violations.length > 0) return
  }
  expect.fail(`${FOUND_WITHIN} histories without ${sabotage} broke no promise: the checker does not see it`)
})
