import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'

import { startPostgres } from '../shared/testing/postgres.ts'
import type { Order, Said } from './histories/messages.ts'
import { sabotages, type Sabotage } from './histories/sabotage.ts'

/*
 * Plays histories: the real control plane, the real lease, fence and receipt of the agent, a real PostgreSQL, and a time that
 * passes only when nothing is left to do. Every history is decided by its seed.
 *
 *     pnpm histories [--runs 300] [--seed 1] [--workers 2] [--without fence|receipt|deadline|superseded|epoch]
 *
 * Ends with 1 and the whole story of the first seeds that break a promise. With `--without` one protection is taken out, and
 * it ends with 1 when nothing is found: then it is the checker that is broken.
 */

/** Stories are long; the first ones are enough. */
const STORIES = 2
const TELL_EVERY_MS = 10_000

interface Options {
  runs: number
  seed: number
  workers: number
  sabotage: Sabotage | undefined
  say: (text: string) => void
}

interface Tally {
  played: number
  commits: number
  sabotaged: number
  violated: number[]
}

/** Lanes vacuum for themselves: autovacuum would truncate a table that a history waits for, in a time that is not its own. */
async function playAll({ runs, seed, workers, sabotage, say }: Options): Promise<Tally> {
  await using server = await startPostgres({ settings: { max_connections: '100', autovacuum: 'off' } })
  const tally: Tally = { played: 0, commits: 0, sabotaged: 0, violated: [] }
  const beganMs = performance.now()
  const progress = setInterval(() => {
    const seconds = (performance.now() - beganMs) / 1000
    say(`${tally.played} of ${runs} histories, ${tally.violated.length} violated, ${Math.round(seconds)} s`)
  }, TELL_EVERY_MS)
  try {
    const orders: Order[] = []
    for (let worker = 0; worker < workers; worker += 1) {
      const urls = await makeDatabases((name) => server.url(name), worker)
      orders.push({ urls, from: seed + worker, to: seed + runs - 1, step: workers, sabotage })
    }
    await Promise.all(orders.map(async (order) => await playIn(order, tally, say)))
  } finally {
    clearInterval(progress)
  }
  return tally
}

async function makeDatabases(url: (database: string) => string, worker: number): Promise<Order['urls']> {
  const client = new pg.Client(url('postgres'))
  await client.connect()
  const names = { control: `control_${worker}`, t1: `t1_${worker}`, t2: `t2_${worker}` }
  for (const name of Object.values(names)) await client.query(`create database ${name}`)
  await client.end()
  return { control: url(names.control), t1: url(names.t1), t2: url(names.t2) }
}

async function playIn(order: Order, tally: Tally, say: Options['say']): Promise<void> {
  const child = fork(fileURLToPath(new URL('histories/history-process.ts', import.meta.url)))
  child.on('message', (said: Said) => {
    if (said.what === 'done') return
    tally.played += 1
    tally.sabotaged += said.sabotaged
    if (said.what === 'played') {
      tally.commits += said.commits
      return
    }
    tally.violated.push(said.seed)
    if (tally.violated.length > STORIES) return
    say(`The history of seed ${said.seed}:\n${said.story.join('\n')}`)
  })
  child.send(order)
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`A worker ended with ${code}.`)
}

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    workers: { type: 'string', default: '2' },
    without: { type: 'string' },
  },
})
const sabotage = sabotages.find((name) => name === values.without)
if (values.without !== undefined && !sabotage) throw new Error(`--without takes one of ${sabotages.join(', ')}`)
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const beganMs = performance.now()
const tally = await playAll({
  runs: Number(values.runs),
  seed: Number(values.seed),
  workers: Number(values.workers),
  sabotage,
  say,
})
const seconds = Math.round((performance.now() - beganMs) / 1000)
const seeds = tally.violated.slice(0, 10).join(', ')
say(
  `${tally.played} histories with ${tally.commits} commits in ${seconds} s; ` +
    `${tally.violated.length} broke a promise${seeds ? ` (seeds ${seeds})` : ''}` +
    (sabotage ? `; without ${sabotage}, taken out ${tally.sabotaged} times` : ''),
)
const isFound = tally.violated.length > 0
process.exitCode = isFound === (sabotage !== undefined) ? 0 : 1
