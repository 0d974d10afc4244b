import type { Engine } from '@multiboard-sync/shared/job'
import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { OpenedArchive } from '../archive/archive-reader.ts'

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
  safetyBackup: string | undefined
  /** Tries to get the locks on the target's tables, before giving up with `lock-timeout`. */
  lockAttempts: number
}
