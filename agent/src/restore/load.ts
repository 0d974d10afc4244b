import type { Engine } from '@multiboard-sync/shared/job'
import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { TableProof } from '@multiboard-sync/shared/plan'
import type { Receipt } from '@multiboard-sync/shared/protocol'
import type { OpenedArchive } from '../archive/archive-reader.ts'
import type { Journal } from '../journal/journal.ts'
import type { Lease } from '../report/lease.ts'
import type { Reporter } from '../report/reporter.ts'

/** What a restore brings into its target, how, and for whom. */
export interface Load {
  engine: Engine
  /** True when the whole database is copied, so that sequences without an owner follow too. */
  isWhole: boolean
  /** The target's fingerprint as it was planned; absent for create. */
  fingerprint: string | undefined
  archive: OpenedArchive
  /** The tables of the archive that this job wants; `left` are its others. */
  tables: ArchivedTable[]
  left: TableName[]
  schema: { preData: string; sequences: string; postData: string }
  job: string
  epoch: number
  /** The order's number for this target; absent for a local run. */
  fence: number | undefined
  /**
   * Takes the safety backup and asks the row-drop guard; answers the backup's id, undefined where nothing is replaced.
   * swap and merge call it while they load, the others before they begin; each exactly once.
   */
  protect: (signal: AbortSignal) => Promise<string | undefined>
  /** Connections to the target at the same time, the one of `target` not counted. */
  connections: number
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
