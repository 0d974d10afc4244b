import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { databaseUrl } from '@multiboard-sync/shared/testing/test-database'
import pg from 'pg'
import { until, withDeadline } from '../../../shared/testing/postgres/deadline.ts'
import { openControl, type Control } from '../road/control.ts'
import { startDaemon, type Daemon } from '../road/daemon.ts'
import { openGate, type Caught, type Gate } from '../road/gate.ts'
import { openWorld, type World } from '../road/world.ts'
import { TERMINATE, type GateName, type Point } from './points.ts'
import { shop } from './shop.ts'

/*
 * One world for many crashes: an agent in a process of its own, and gates between it and the store, the source and the
 * target. The target is made anew from a template where a point needs it. The agent's journal is read at each message that
 * it sends, so that "the first message after this step was written down" is a place that lies still.
 */
export interface Lane extends AsyncDisposable {
  world: World
  control: Control
  target: { name: string; url: string }
  /** The agent that runs now. */
  daemon: Daemon
  gates: Record<GateName, Gate>
  /** Makes the target anew, in a tablespace of its own where one is named. */
  reset(template: string, tablespace?: string): Promise<void>
  /** A copy of the target as it is now, for reset(). */
  keepTarget(): Promise<string>
  /** Resolves when the job's agent has come to the point, where it waits then. */
  stopAt(job: () => string | undefined, point: Point): Promise<Stopped>
  boot(): Promise<void>
  lastStep(job: string): string | undefined
  /** The last line of the job's journal. */
  lastLine(job: string): { step: string } | undefined
}

export interface Stopped extends Caught {
  gate: GateName
  /** The last line of the journal at that moment. */
  step: string | undefined
  text: string
}

const STEP_TIMEOUT_MS = 100_000
const MAINTAIN_TIMEOUT_MS = 30_000
/** Some messages have no answer of their own. */
const ANSWER_WAIT_MS = 1_000

/** `targetServer`: another server than that of the test run, by the name of a database on it, for the target. */
export async function openLane(
  lease: { leaseMs: number; graceMs: number },
  targetServer: (database: string) => string = databaseUrl,
): Promise<Lane> {
  await using made = new AsyncDisposableStack()
  const world = made.use(await openWorld({ source: { template: await shop.source() } }))
  const { name } = world.target
  const target = { name, url: targetServer(name) }
  const control = made.use(await openControl(world, lease))
  const gates = {
    store: made.use(await openGate(new URL(world.store.endpoint))),
    source: made.use(await openGate(new URL(world.source.url))),
    target: made.use(await openGate(new URL(target.url))),
  }
  const maintainTarget = async (...statements: string[]): Promise<void> =>
    await maintain(targetServer('postgres'), ...statements)
  const kept: string[] = []
  const dropped = (): string[] => [name, ...kept].map((one) => `drop database if exists ${one} with (force)`)
  made.defer(async () => await maintainTarget(...dropped()))
  const start = async (): Promise<Daemon> =>
    await startDaemon({
      ...world.env,
      ...control.env,
      S3_ENDPOINT: gates.store.url(world.store.endpoint),
      PRODUCTION_DATABASE_URL: gates.source.url(world.source.url),
      STAGING_DATABASE_URL: gates.target.url(target.url),
    })
  const lastLine: Lane['lastLine'] = (job) => {
    try {
      const text = readFileSync(join(world.dir, 'state', 'journal', `${job}.jsonl`), 'utf8')
      return JSON.parse(text.trim().split('\n').at(-1) ?? '') as { step: string }
    } catch {
      // It is not there yet, or its last line is being written.
      return undefined
    }
  }
  const lastStep: Lane['lastStep'] = (job) => lastLine(job)?.step

  const stopAt: Lane['stopAt'] = async (job, point) => {
    let left = point.skip ?? 0
    let isStopped = false
    const look = (gate: GateName, tell: (found: { step: string | undefined; text: string }) => void) => {
      return (text: string): boolean => {
        if (isStopped || !(point.message === undefined ? text !== TERMINATE : point.message.test(text))) return false
        if (point.gate !== undefined && point.gate !== gate) return false
        const id = job()
        const step = id === undefined ? undefined : lastStep(id)
        if (step === undefined || (point.step !== undefined && step !== point.step)) return false
        if (left > 0) {
          left -= 1
          return false
        }
        isStopped = true
        tell({ step, text: `${gate}: ${text.slice(0, 300)}` })
        return true
      }
    }
    const each = Object.keys(gates) as GateName[]
    const work = each.map(async (gate) => {
      let found: { step: string | undefined; text: string } = { step: undefined, text: '' }
      const caught = await gates[gate].stopAt(
        look(gate, (one) => (found = one)),
        point.where,
      )
      return { ...caught, ...found, gate }
    })
    try {
      const stopped = await withDeadline('the point', STEP_TIMEOUT_MS, Promise.race(work))
      if (point.where === 'after') {
        await withDeadline('an answer', ANSWER_WAIT_MS, stopped.answered).catch(() => undefined)
      }
      return stopped
    } finally {
      for (const gate of each) gates[gate].letPass()
    }
  }

  const owned = made.move()
  const lane: Lane = {
    world,
    target,
    control,
    daemon: await start(),
    gates,
    reset: async (template, tablespace = 'pg_default') =>
      await maintainTarget(
        `drop database if exists ${name} with (force)`,
        `create database ${name} template ${template} tablespace ${tablespace}`,
      ),
    keepTarget: async () => {
      const copy = `${name}_kept_${kept.length}`
      await until('the target to be left alone', MAINTAIN_TIMEOUT_MS, async () => {
        try {
          await maintainTarget(`create database ${copy} template ${name}`)
          return true
        } catch (error) {
          if ((error as { code?: string }).code === '55006') return false
          throw error
        }
      })
      kept.push(copy)
      return copy
    },
    stopAt,
    boot: async () => {
      lane.daemon = await start()
    },
    lastStep,
    lastLine,
    [Symbol.asyncDispose]: async () => {
      await lane.daemon.kill()
      await owned.disposeAsync()
    },
  }
  return lane
}

/** Outside of any transaction. */
export async function maintain(url: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const sql of statements) await withDeadline(sql, MAINTAIN_TIMEOUT_MS, client.query(sql))
  } finally {
    await client.end()
  }
}
