import type { Engine } from '@multiboard-sync/shared/job'
import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { TableProof } from '@multiboard-sync/shared/plan'
import type { Receipt } from '@multiboard-sync/shared/protocol'
import type { Feed } from '../feed/feed.ts'
import type { Journal } from '../journal/journal.ts'
import type { Lanes } from '../lanes/lanes.ts'
import type { Lease } from '../report/lease.ts'
import type { Reporter } from '../report/reporter.ts'

/** What a restore brings into its target, how, and for whom. */
export interface Load {
  engine: Engine
  /** True when the whole database is copied, so that sequences without an owner follow too. */
  isWhole: boolean
  /** The target's fingerprint as it was planned; absent for create. */
  fingerprint: string | undefined
  /** The rows, and the tables that this job wants; `left` are the archive's others. */
  feed: Feed
  left: TableName[]
  schema: { preData: string; sequences: string; postData: string }
  job: string
  epoch: number
  /** The order's number for this target; absent for a local run. */
  fence: number | undefined
  /**
   * Takes the safety backup; answers its id, undefined where nothing is replaced. swap and merge call it while they load,
   * the others before they begin; each exactly once. Where it is known already what comes, the guard is asked as well.
   */
  protect: (signal: AbortSignal) => Promise<string | undefined>
  /**
   * The guard against a source that has lost its rows, which needs exact counts: what the feed has answered at its end,
   * and the safety backup. Asked before anything live is changed. Throws `row-drop`.
   */
  guard: (tables: ArchivedTable[]) => void
  /** What the job's connections to its databases work on at the same time, the one of `target` not counted. */
  lanes: Lanes
  /** Tries to get the locks on the target's tables, before giving up with `lock-timeout`. */
  lockAttempts: number
}

/** Who watches a restore, and what guards it. */
export interface RestoreRun {
  /** Called before the transaction that changes live tables: from then on a failure means that it was rolled back. */
  changing: () => void
  /** Called once it is committed: from then on no failure can take it back. Resolves when the journal has it. */
  changed: () => Promise<void>
  reporter: Reporter
  lease: Lease
  journal: Journal
  signal: AbortSignal
}

/** A restore that was committed. */
export interface Restored {
  receipt: Receipt
  proof: TableProof[]
  /** Swap only: the replaced tables are kept, and so many rows were written to them while the job ran. */
  kept?: { lateWrites: number }
}
