import { newJobId } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { openArchive } from '../../src/archive/archive-reader.ts'
import { readEnv } from '../../src/env.ts'
import { archiveFeed } from '../../src/feed/archive-feed.ts'
import { openLanes } from '../../src/lanes/lanes.ts'
import { createTrace } from '../../src/lanes/trace.ts'
import { openContext } from '../../src/open-context.ts'
import { originOfArchive } from '../../src/plan/origin.ts'
import { readFingerprint } from '../../src/postgres/fingerprint.ts'
import { openTarget } from '../../src/postgres/open-target.ts'
import { unlimitedLease } from '../../src/report/lease.ts'
import { createReporter } from '../../src/report/reporter.ts'
import { restoreInOneTransaction } from '../../src/restore/in-one-transaction.ts'
import type { Restored, RestoreRun } from '../../src/restore/load.ts'
import { merge } from '../../src/restore/merge/merge.ts'
import { mustSucceed, runJobHere } from './values-job.ts'
import type { World } from './world.ts'

const DEADLINE_MS = 60_000

/** Exports a database; answers its archive's id. */
export async function exportFrom(world: World, source: TestDatabase): Promise<string> {
  const env = { PRODUCTION_DATABASE_URL: source.url }
  const result = mustSucceed(await runJobHere(world, { kind: 'export', source: 'production' }, { env }))
  return result.archive?.id ?? ''
}

export interface Brought extends Restored {
  events: { type: string; data: Record<string, unknown> }[]
  /** Steps of the journal. */
  steps: string[]
}

export interface How {
  engine?: 'merge' | 'truncate'
  /** Tables of the archive, all without it. */
  tables?: string[]
  /** Called in the middle: when the safety backup is due. */
  protect?: () => Promise<void>
  run?: Partial<RestoreRun>
  attempts?: number
  onEvent?: (type: string, data: Record<string, unknown>) => void
}

/** The engine alone, as a job calls it. */
export async function bringInto(
  world: World,
  target: { url: string },
  archiveId: string,
  how: How = {},
): Promise<Brought> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  await using opened = await openContext(readEnv({ ...world.env, STAGING_DATABASE_URL: target.url }))
  const archive = await openArchive(opened.context, archiveId, signal)
  const wanted = archive.manifest.tables.filter((table) => how.tables?.includes(formatTableName(table)) ?? true)
  const { schema } = await originOfArchive(archive, wanted)
  await using open = await openTarget(opened.context.databaseUrl('staging'), signal)
  const events: Brought['events'] = []
  const steps: string[] = []
  const reporter = createReporter([
    {
      phase: () => undefined,
      progress: () => undefined,
      event: ({ type, data }) => {
        events.push({ type, data })
        how.onEvent?.(type, data)
      },
    },
  ])
  const engine = how.engine ?? 'merge'
  await using lanes = openLanes({ count: 2, signal, trace: createTrace() })
  const load = {
    engine,
    isWhole: how.tables === undefined,
    fingerprint: (await readFingerprint(open.session)).sha256,
    feed: archiveFeed(archive, wanted),
    left: [],
    schema,
    job: newJobId(),
    epoch: 1,
    fence: undefined,
    protect: async () => {
      await how.protect?.()
      return undefined
    },
    guard: () => undefined,
    lanes,
    lockAttempts: how.attempts ?? 2,
  }
  const run: RestoreRun = {
    changing: () => undefined,
    changed: async () => undefined,
    reporter,
    lease: unlimitedLease,
    journal: { record: async (step) => void steps.push(step), [Symbol.asyncDispose]: async () => undefined },
    signal,
    ...how.run,
  }
  const restored = await (engine === 'merge' ? merge : restoreInOneTransaction)(open, load, run)
  return { ...restored, events, steps }
}

/** What the work fails with. */
export async function failure(work: Promise<unknown>): Promise<SyncError> {
  try {
    await work
  } catch (error) {
    if (error instanceof SyncError) return error
    throw error
  }
  throw new Error('it succeeded')
}
