import { cpus } from 'node:os'
import { parseArgs } from 'node:util'

import { startPostgres } from '../shared/testing/postgres.ts'
import { openScene, type Scene } from './bench-control-plane/open-scene.ts'
import { formatTable, short } from './bench/figures.ts'

/*
 * Measures what the calls of the control plane cost with a past behind them.
 *
 *     pnpm bench-control-plane [--agents 50] [--jobs 10000] [--events 100] [--calls 300] [--major 18] [--json]
 *
 * `--events` is for each job: 100 make a million. Each call is answered by the app in this process: signature, checks,
 * statements and answer are measured, the network is not. Server and app share this machine's cores. The last line is all
 * agents polling at once.
 */

interface Measured {
  call: string
  p50: number
  p99: number
  /** Begin and commit are counted. */
  statements: number
}

type Make = (n: number) => Promise<Request> | Request

/** The share of calls that were at most so slow. */
function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

function callsOf(scene: Scene, pastEvents: number): Record<string, Make> {
  const { agents, byAgent, byPerson, running, pollBody } = scene
  const [job = ''] = running
  const idle = agents.slice(running.length)
  /** The last event of each job. */
  const sent = new Map<string, number>()
  const at = (list: readonly string[], n: number): string => list[n % list.length] ?? ''
  const report = async (n: number, events: number): Promise<Request> => {
    const busy = n % running.length
    const id = at(running, busy)
    const last = sent.get(id) ?? pastEvents
    sent.set(id, last + events)
    return await byAgent(at(agents, busy), `/v1/agent/jobs/${id}/report`, {
      epoch: 1,
      phase: 'loading',
      stalled_ms: 0,
      progress: PROGRESS,
      events: Array.from({ length: events }, (_, index) => ({
        aseq: last + 1 + index,
        type: 'table.loaded',
        level: 'info',
        at: new Date().toISOString(),
        data: { table: 'public.Component', rows: index },
      })),
    })
  }
  const longAgo = new Date(Date.now() - FAR_BACK_MS).toISOString()
  const cursor = Buffer.from(JSON.stringify([longAgo, job])).toString('base64url')
  return {
    'poll, idle': async (n) => await byAgent(at(idle, n), '/v1/agent/poll', pollBody(at(idle, n))),
    'report, no events': async (n) => await report(n, 0),
    'report, 20 events': async (n) => await report(n, 20),
    'list of 50 jobs': () => byPerson('GET', '/v1/jobs?limit=50'),
    'list of 50 jobs, far back': () => byPerson('GET', `/v1/jobs?limit=50&cursor=${cursor}`),
    'one job': (n) => byPerson('GET', `/v1/jobs/${at(running, n)}`),
    'events of a job, 100': (n) => byPerson('GET', `/v1/jobs/${at(running, n)}/events?limit=100`),
  }
}

const PROGRESS = {
  phase: 'loading',
  tables_done: 3,
  tables_total: 40,
  rows: 1000,
  bytes: 100_000,
  bytes_total: 1_000_000,
  bytes_per_second: 50_000,
  elapsed_seconds: 2,
}
/** The past has a job every ten minutes. */
const FAR_BACK_MS = 40 * 86_400_000

async function measure(scene: Scene, call: string, make: Make, calls: number): Promise<Measured> {
  const times: number[] = []
  let statements = 0
  for (let n = 0; n < calls; n += 1) {
    const request = await make(n)
    scene.takeStatements()
    const beganMs = performance.now()
    const response = await scene.answer(request)
    const text = await response.text()
    times.push(performance.now() - beganMs)
    if (!response.ok) throw new Error(`${call}: ${response.status} ${text}`)
    statements = Math.max(statements, scene.takeStatements().length)
  }
  times.sort((a, b) => a - b)
  return { call, p50: quantile(times, 0.5), p99: quantile(times, 0.99), statements }
}

/** All agents at once, as after an outage. */
async function measureStorm(scene: Scene, rounds: number): Promise<Measured> {
  const times: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const requests = await Promise.all(
      scene.agents.map(async (agent) => await scene.byAgent(agent, '/v1/agent/poll', scene.pollBody(agent))),
    )
    const beganMs = performance.now()
    await Promise.all(
      requests.map(async (request) => {
        const { status } = await scene.answer(request)
        if (status !== 200) throw new Error(`a poll of the storm: ${status}`)
        times.push(performance.now() - beganMs)
      }),
    )
  }
  times.sort((a, b) => a - b)
  scene.takeStatements()
  const call = `${scene.agents.length} polls at once`
  return { call, p50: quantile(times, 0.5), p99: quantile(times, 0.99), statements: Number.NaN }
}

const { values } = parseArgs({
  options: {
    agents: { type: 'string', default: '50' },
    jobs: { type: 'string', default: '10000' },
    events: { type: 'string', default: '100' },
    calls: { type: 'string', default: '300' },
    major: { type: 'string', default: '18' },
    json: { type: 'boolean', default: false },
  },
})
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const [agents, jobs, calls] = [Number(values.agents), Number(values.jobs), Number(values.calls)]
const pastEvents = Number(values.events)
await using server = await startPostgres({ major: Number(values.major), settings: { max_wal_size: '4GB' } })
if (!values.json) say(`Filling: ${agents} agents, ${jobs} jobs, ${jobs * pastEvents} events.`)
await using scene = await openScene(server.url('postgres'), { agents, jobs, eventsPerJob: pastEvents })
const measured: Measured[] = []
for (const [call, make] of Object.entries(callsOf(scene, pastEvents))) {
  // The first calls open connections and warm caches.
  await measure(scene, call, make, 10)
  measured.push(await measure(scene, call, make, calls))
}
measured.push(await measureStorm(scene, Math.ceil(calls / 30)))
if (values.json) say(JSON.stringify(measured))
else {
  const rows = measured.map(({ call, p50, p99, statements }) => [
    call,
    short(p50),
    short(p99),
    Number.isNaN(statements) ? '' : String(statements),
  ])
  say(formatTable([['call', 'p50 ms', 'p99 ms', 'statements'], ...rows]))
  say(`On ${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}), PostgreSQL ${server.major}.`)
}
