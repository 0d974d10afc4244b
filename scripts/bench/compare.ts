import { spawnSync } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { formatBytes } from '../../shared/src/sizes.ts'
import { makeKeys } from '../make-keys.ts'
import type { Cost } from './measure-cost.ts'
import { measureJob, type ReadJob } from './measure-job.ts'
import { openScene, SETTINGS, type Scene } from './open-scene.ts'
import type { CompareOptions, Variant } from './options.ts'
import { BUCKET, prepareOurs, type Ours, type OurRun, type Store, type Trace } from './ours.ts'
import { startReaders, startStore } from './processes.ts'
import { clone, dumpAndRestore, findTools, type Tools } from './theirs.ts'

/** One measured piece of work: `sync checksums-gzip`, `pg_dump`, ... */
export interface Run {
  what: string
  round: number
  cost: Cost
  /** Of the agent. */
  peakBytes?: number | undefined
  /** Of the agent, seconds of CPU time. */
  threads?: Record<string, number>
  rows?: number
  /** COPY text. */
  bytes?: number
  /** What lies in the store, or in the dump's folder. */
  archiveBytes?: number
  phases?: [phase: string, seconds: number][]
  /** The agent's own account of the job, and when its first phase began (nowMs()). */
  trace?: Trace | undefined
  tracedMs?: number | undefined
}

export interface Comparison {
  scale: string
  options: CompareOptions
  machine: { cpus: number; model: string; memory: number; node: string }
  settings: Record<string, string>
  tools: string[]
  rows: number
  tables: number
  /** Of the source, as PostgreSQL says. */
  bytes: number
  runs: Run[]
  /** A sync over full tables and its undo, while four readers read the target. */
  readers?: { sync: ReadJob; undo: ReadJob }
  /** What failed, and why; it is missing in the runs. */
  failures: string[]
}

interface Turn {
  what: string
  /** Only in the first round. */
  once?: true
  measure: () => Promise<Omit<Run, 'round'>[]>
}

/** As applications read: often, with a rest. As fast as they can they would be most of what the machine does. */
const READERS_REST_MS = 5
const SAY_EVERY_MS = 10_000
const NO_JOB = 'j000000000000'

export async function compare(options: CompareOptions, say: (text: string) => void): Promise<Comparison> {
  const tools = findTools(options.major)
  for (const note of tools.notes) say(note)
  await using scene = await openScene(options, say)
  const ours = prepareOurs(scene, await makeKeys(join(scene.folder, 'keys')), options)
  const comparison: Comparison = {
    scale: `${formatBytes(scene.bytes)} in ${scene.tables === 1 ? 'one table' : `${scene.tables} tables`}`,
    options,
    machine: { cpus: cpus().length, model: cpus()[0]?.model ?? '', memory: totalmem(), node: process.version },
    settings: SETTINGS,
    tools: tools.notes,
    rows: scene.rows,
    tables: scene.tables,
    bytes: scene.bytes,
    runs: [],
    failures: [],
  }
  await warmUp(scene, ours)
  const turns = turnsOf(options, { scene, ours, tools, comparison })
  for (let round = 1; round <= options.rounds; round += 1) {
    say(`Round ${round} of ${options.rounds}.`)
    // By turns, and each second round the other way round: a machine that slows down slows all.
    for (const { what, once, measure } of round % 2 === 1 ? turns : turns.toReversed()) {
      if (once && round > 1) continue
      const stopSaying = keepSaying(what, say)
      try {
        const runs = await measure()
        comparison.runs.push(...runs.map((run) => ({ ...run, round })))
        for (const run of runs) say(`  ${describe(run)}`)
      } catch (error) {
        comparison.failures.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
        say(`  ${what} failed: ${error instanceof Error ? error.message : String(error)}`)
        process.exitCode = 1
      } finally {
        stopSaying()
      }
    }
  }
  return comparison
}

/** From an installation's second job on the compile cache has all modules: no measured one is the first. This one is refused. */
async function warmUp(scene: Scene, ours: Ours): Promise<void> {
  await scene.freshTarget('tables')
  await withStore(scene, async (store) => {
    await using agent = await ours.start('checksums-gzip', store)
    await agent.run({ kind: 'undo', target: 'staging', job: NO_JOB }).catch(() => undefined)
  })
}

interface Surroundings {
  scene: Scene
  ours: Ours
  tools: Tools
  comparison: Comparison
}

function turnsOf(options: CompareOptions, { scene, ours, tools, comparison }: Surroundings): Turn[] {
  const turns: Record<CompareOptions['only'][number], () => Turn[]> = {
    sync: () =>
      options.variants.map((variant) => ({
        what: `sync ${variant}`,
        measure: async () => await measureSync(scene, ours, variant, 'swap'),
      })),
    create: () => {
      const variant = options.variants[0] ?? 'checksums-gzip'
      return [{ what: `create ${variant}`, measure: async () => await measureSync(scene, ours, variant, 'create') }]
    },
    archive: () =>
      options.variants.map((variant) => ({
        what: `export and restore ${variant}`,
        measure: async () => await measureArchive(scene, ours, variant),
      })),
    readers: () => {
      const variant = options.variants[0] ?? 'checksums-gzip'
      const measure = async () => {
        comparison.readers = await measureReaders(scene, ours, variant)
        return []
      }
      return [{ what: 'sync and undo with readers', once: true, measure }]
    },
    dump: () =>
      tools.hasDump ? [{ what: 'pg_dump and pg_restore', measure: async () => await measureDump(scene) }] : [],
    pgcopydb: () =>
      tools.hasPgcopydb
        ? [
            {
              what: 'pgcopydb',
              measure: async () => {
                await scene.freshTarget('nothing')
                return [await clone(scene)]
              },
            },
          ]
        : [],
  }
  return options.only.flatMap((name) => turns[name]())
}

async function measureSync(scene: Scene, ours: Ours, variant: Variant, engine: 'swap' | 'create') {
  await scene.freshTarget(engine === 'swap' ? 'tables' : 'nothing')
  return await withStore(scene, async (store, folder) => {
    const what = `${engine === 'swap' ? 'sync' : 'create'} ${variant}`
    const sync = await ours.run(what, variant, store, { kind: 'sync', source: 'production', target: 'staging', engine })
    const runs = [{ ...runOf(sync), archiveBytes: sizeOf(folder) }]
    if (engine === 'create') return runs
    const undo = await ours.run('undo', variant, store, { kind: 'undo', target: 'staging', job: sync.ran.job })
    return [...runs, runOf(undo)]
  })
}

async function measureArchive(scene: Scene, ours: Ours, variant: Variant) {
  await scene.freshTarget('tables')
  return await withStore(scene, async (store, folder) => {
    const exported = await ours.run(`export ${variant}`, variant, store, { kind: 'export', source: 'production' })
    const archive = exported.ran.result.archive?.id
    if (archive === undefined) throw new Error('An export made no archive.')
    const archiveBytes = sizeOf(folder)
    const params = { kind: 'restore', archive, target: 'staging', engine: 'swap' } as const
    const restored = await ours.run(`restore ${variant}`, variant, store, params)
    return [{ ...runOf(exported), archiveBytes }, runOf(restored)]
  })
}

async function measureDump(scene: Scene): Promise<Omit<Run, 'round'>[]> {
  await scene.freshTarget('nothing')
  const [dump, restore, archiveBytes] = await dumpAndRestore(scene)
  return [{ ...dump, archiveBytes }, restore]
}

/** The second sync replaces full tables, as in earnest: with a safety backup of what it replaces. */
async function measureReaders(scene: Scene, ours: Ours, variant: Variant): Promise<{ sync: ReadJob; undo: ReadJob }> {
  await scene.freshTarget('tables')
  return await withStore(scene, async (store) => {
    await using agent = await ours.start(variant, store)
    await using readers = startReaders()
    const params = { kind: 'sync', source: 'production', target: 'staging', engine: 'swap' } as const
    await agent.run(params)
    const reading = { ...scene.reading, restMs: READERS_REST_MS }
    const url = scene.target.url('staging')
    const sync = await measureJob(agent, readers, url, reading, params)
    const undo = await measureJob(agent, readers, url, reading, { kind: 'undo', target: 'staging', job: sync.job })
    return { sync, undo }
  })
}

/** An empty store for each, so that archives do not fill the disk. */
async function withStore<T>(scene: Scene, work: (store: Store, folder: string) => Promise<T>): Promise<T> {
  const folder = join(scene.folder, 'store')
  await mkdir(folder, { recursive: true })
  try {
    await using store = await startStore(folder, BUCKET)
    return await work(store, folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function runOf({ what, cost, peakBytes, threads, phases, trace, ran }: OurRun): Omit<Run, 'round'> {
  const { rows, bytes } = ran.result
  return { what, cost, peakBytes, threads, rows, bytes, phases, trace, tracedMs: ran.marks[0]?.atMs }
}

function sizeOf(folder: string): number {
  return Number(spawnSync('du', ['-sb', folder], { encoding: 'utf8' }).stdout.split('\t')[0])
}

/** One that runs for minutes shows that it does. */
function keepSaying(what: string, say: (text: string) => void): () => void {
  const beganMs = performance.now()
  const timer = setInterval(() => {
    say(`    ${what}: ${Math.round((performance.now() - beganMs) / 1000)} s`)
  }, SAY_EVERY_MS)
  return () => clearInterval(timer)
}

function describe({ what, cost, peakBytes }: Omit<Run, 'round'>): string {
  const { source, target, client, store, others } = cost.core
  const seconds = [source, target, client, store, others].map((one) => one.toFixed(1)).join(' + ')
  const memory = peakBytes === undefined ? '' : `, ${formatBytes(peakBytes)}`
  return `${what}: ${cost.seconds.toFixed(1)} s, busy ${Math.round(cost.busy * 100)} % (${seconds} core-s)${memory}`
}
