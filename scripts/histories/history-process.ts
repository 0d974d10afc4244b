import type { Order, Said } from './messages.ts'
import { openLane } from './open-lane.ts'
import { playHistory } from './play-history.ts'

/** Plays the histories it is told to play, and ends with its parent. */

/** Dead rows of many histories make the next ones slow. */
const VACUUM_EVERY = 100

function say(said: Said): void {
  process.send?.(said)
}

async function play({ urls, from, to, step, sabotage }: Order): Promise<void> {
  await using lane = await openLane((name) => urls[name])
  let played = 0
  for (let seed = from; seed <= to; seed += step) {
    const { violations, story, commits, sabotaged } = await playHistory(lane, seed, sabotage)
    if (violations.length > 0) say({ what: 'violated', seed, violations, story, sabotaged })
    else say({ what: 'played', commits, sabotaged })
    played += 1
    if (played % VACUUM_EVERY === 0) await lane.vacuum()
  }
  say({ what: 'done' })
}

process.once('message', (order: Order) => {
  play(order).then(
    () => process.disconnect(),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
      process.exit(1)
    },
  )
})
process.on('disconnect', () => process.exit())
