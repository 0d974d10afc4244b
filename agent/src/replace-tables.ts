import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { retry } from '@multiboard-sync/shared/retry'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { OpenedArchive } from './archive/archive-reader.ts'
import type { AgentContext, Job, JobRun } from './context.ts'
import { archiveFeed } from './feed/archive-feed.ts'
import type { Feed } from './feed/feed.ts'
import { openLanes, type Lanes } from './lanes/lanes.ts'
import { checkRowDrop } from './plan/check-row-drop.ts'
import type { Origin } from './plan/origin.ts'
import type { Plan } from './plan/plan.ts'
import { readSource, type AskedSource } from './plan/read-source.ts'
import { openSource } from './postgres/open-source.ts'
import type { Target } from './postgres/open-target.ts'
import type { DatabaseUrl } from './postgres/session.ts'
import type { Reporter } from './report/reporter.ts'
import type { RestoreRun } from './restore/load.ts'
import { restore } from './restore/restore.ts'
import { writeArchive } from './write-archive.ts'

/** As often as a bad line may be expected to break. */
const LOOK_RETRY = { attempts: 4, firstDelayMs: 500, maxDelayMs: 4_000 }

/** The rows that are to come. */
export interface Rows {
  /** Called once, before anything is changed. */
  open: (lanes: Lanes) => Promise<Feed>
  /** Tables of the archive that this job leaves out. */
  left: TableName[]
  /** What comes, where it is known before it comes. */
  tables?: ArchivedTable[]
}

/** Of an archive: those of these tables. */
export function archivedRows(archive: OpenedArchive, tables: ArchivedTable[]): Rows {
  const wanted = new Set(tables.map(formatTableName))
  return {
    open: async () => archiveFeed(archive, tables),
    left: archive.manifest.tables.filter((table) => !wanted.has(formatTableName(table))),
    tables,
  }
}

export interface Replacement {
  target: Target
  plan: Plan
  origin: Origin
  rows: Rows
}

/**
 * The tables of a target become those of a source or an archive, by the plan's engine, which calls for the safety backup
 * and the guard against a source that lost its rows when it suits it: always before anything live is changed.
 */
export async function replaceTables(context: AgentContext, job: Job, run: JobRun, change: Replacement): Promise<void> {
  const { target, plan, origin, rows } = change
  const { limits } = context.policy
  await using lanes = openLanes({ count: limits.connections_per_database, signal: run.signal, trace: run.trace })
  const feed = await rows.open(lanes)
  let tables = rows.tables ?? []
  const { receipt, proof, kept } = await restore(
    target,
    {
      engine: plan.engine,
      isWhole: plan.whole,
      fingerprint: plan.target_fingerprint,
      feed,
      left: rows.left,
      schema: origin.schema,
      job: job.id,
      epoch: job.epoch,
      fence: job.fence,
      protect: async (signal) => await protect(context, job, { ...run, signal }, { ...change, lanes }),
      guard: (found) => {
        tables = found
        checkRowDrop(plan.max_row_drop_pct, found, run.facts.safetyBackup)
      },
      lanes,
      lockAttempts: limits.lock_attempts,
    },
    { ...run, ...recordChanges(run, target) },
  )
  Object.assign(run.facts, {
    receipt,
    proof,
    undoable: kept !== undefined,
    lateWrites: kept?.lateWrites,
    tables: tables.length,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    bytes: tables.reduce((sum, table) => sum + table.bytes, 0),
  })
}

/** The safety backup of what will be replaced, and the row-drop guard, which needs its exact counts, as early as it can be asked. */
async function protect(
  context: AgentContext,
  job: Job,
  run: JobRun,
  { target, plan, rows, lanes }: Replacement & { lanes: Lanes },
): Promise<string | undefined> {
  if (plan.engine !== 'create') {
    const isBeside = plan.engine === 'swap' || plan.engine === 'merge'
    const reporter = isBeside ? factsOnly(run.reporter) : run.reporter
    const asked = await readPresent(target.database, plan.tables.map(formatTableName), run.signal)
    await using _present = asked.source
    await writeArchive(context, job, { ...run, reporter }, asked, 'safety-backup', lanes)
  }
  if (rows.tables) checkRowDrop(plan.max_row_drop_pct, rows.tables, run.facts.safetyBackup)
  return run.facts.safetyBackup?.id
}

/** A connection that is cut in the middle costs a look, not the job that is under way. */
async function readPresent(database: DatabaseUrl, tables: string[], signal: AbortSignal): Promise<AskedSource> {
  return await retry({ signal, ...LOOK_RETRY }, async () => {
    const present = await openSource(database, 'safety backup', signal)
    try {
      return await readSource(present, tables, undefined, signal)
    } catch (error) {
      // Who asks for a snapshot whose holder was cut is told only that there is no such snapshot.
      const cause = await present.stand().then(
        () => error,
        (lost: unknown) => lost,
      )
      await present[Symbol.asyncDispose]()
      throw cause
    }
  })
}

/** While the tables are loaded the phase and its progress are the load's. */
function factsOnly(reporter: Reporter): Reporter {
  return { ...reporter, phase: () => undefined, progress: () => undefined }
}

/** What a restore calls when it begins to change live tables and when that is committed: what a later failure must tell. */
export function recordChanges(run: JobRun, target: Target): Pick<RestoreRun, 'changing' | 'changed'> {
  return {
    changing: () => {
      run.facts.targetState = 'rolled_back'
    },
    changed: async () => {
      run.facts.targetState = 'changed'
      await run.journal.record('committed', { target: target.database.name })
    },
  }
}
