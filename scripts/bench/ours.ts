import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { JobParams } from '../../shared/src/job.ts'
import type { MadeKeys } from '../make-keys.ts'
import { measureCost, type Cost } from './measure-cost.ts'
import type { Mark, Ran } from './messages.ts'
import type { Scene } from './open-scene.ts'
import type { CompareOptions, Variant } from './options.ts'
import { startAgent, type Agent } from './processes.ts'
import { cpuSecondsByThread, peakBytesOf } from './watch-processes.ts'

/** agent/src/lanes/write-trace.ts */
export interface Trace {
  lanes: number
  spans: { lane: number; kind: string; name: string; begin_ms: number; end_ms: number; failed?: true }[]
}

export interface OurRun {
  what: string
  cost: Cost
  peakBytes: number | undefined
  /** Seconds of CPU time by threads of the agent that still live at its end. */
  threads: Record<string, number>
  ran: Ran
  /** Seconds by phase, in their order. */
  phases: [phase: string, seconds: number][]
  trace: Trace | undefined
}

export interface Ours {
  /** Starts an agent for one job, as the command line does, and measures from its start to its answer. */
  run(what: string, variant: Variant, store: Store, params: JobParams): Promise<OurRun>
  /** An agent that waits for jobs. */
  start(variant: Variant, store: Store): Promise<Agent>
}

export interface Store {
  endpoint: string
  pid: number
}

export const BUCKET = 'archive'

export function prepareOurs(scene: Scene, keys: MadeKeys, options: CompareOptions): Ours {
  const program =
    options.code === undefined
      ? undefined
      : pathToFileURL(join(resolve(options.code), 'scripts/bench/agent-process.ts'))
  const profiling = options.cpuProf === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(options.cpuProf)}`]
  const stateDir = (variant: Variant): string => join(scene.folder, `state-${variant}`)

  async function start(variant: Variant, store: Store): Promise<Agent> {
    await mkdir(stateDir(variant), { recursive: true })
    const config = join(scene.folder, `${variant}.yaml`)
    await writeFile(config, policyOf(variant, options.connections))
    const env = {
      AGENT_CONFIG: config,
      AGENT_STATE_DIR: stateDir(variant),
      AGENT_KEY_FILE: keys.agentKeyFile,
      TRUST_FILE: keys.trustFile,
      PRODUCTION_DATABASE_URL: scene.source.url('production'),
      STAGING_DATABASE_URL: scene.target.url('staging'),
      S3_ENDPOINT: store.endpoint,
      S3_BUCKET: BUCKET,
      S3_ACCESS_KEY_ID: 'development-key',
      S3_SECRET_ACCESS_KEY: 'development-secret',
      S3_FORCE_PATH_STYLE: 'true',
    }
    return startAgent(env, { ...(program && { program }), nodeOptions: [...profiling, ...options.node] })
  }

  return {
    start,
    async run(what, variant, store, params) {
      let agent: Agent | undefined
      try {
        const watched = {
          source: scene.source.pid,
          target: scene.target.pid,
          store: store.pid,
          client: () => agent?.pid,
        }
        const { cost, done: ran } = await measureCost(watched, async () => {
          agent = await start(variant, store)
          return await agent.run(params)
        })
        const peakBytes = agent && peakBytesOf(agent.pid)
        const threads = agent ? cpuSecondsByThread(agent.pid) : {}
        const trace = readTrace(join(stateDir(variant), 'traces', `${ran.job}.json`))
        return { what, cost, peakBytes, threads, ran, phases: phasesOf(ran), trace }
      } finally {
        await agent?.[Symbol.asyncDispose]()
      }
    },
  }
}

function policyOf(variant: Variant, connections: number | undefined): string {
  const [verify, compression] = variant.split('-')
  return [
    'databases: { production: { role: source }, staging: { role: both } }',
    'routes: [{ from: production, to: staging }]',
    `verify: ${verify}`,
    // gzip is the default, and older checkouts know nothing else.
    ...(compression === 'gzip' ? [] : [`archive: { compression: ${compression} }`]),
    ...(connections === undefined ? [] : [`limits: { connections_per_database: ${connections} }`]),
  ].join('\n')
}

/** Older checkouts leave none. */
function readTrace(path: string): Trace | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Trace
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function phasesOf({ marks, endedMs }: Ran): [string, number][] {
  const phases = marks.filter(({ name }: Mark) => !name.includes('.'))
  return phases.map(({ name, atMs }, n) => [name, ((phases[n + 1]?.atMs ?? endedMs) - atMs) / 1000])
}
