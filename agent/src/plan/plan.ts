import type { Engine } from '@multiboard-sync/shared/job'
import type { Column } from '@multiboard-sync/shared/manifest'

/** What a job will do, settled before anything is changed, and shown to whoever asks (`--dry-run`). Names and numbers. */
export interface Plan {
  kind: 'sync' | 'restore'
  source: string
  target: string
  engine: Engine
  /** Why this engine, a clause: `the target has none of these tables`. */
  reason: string
  tables: PlannedTable[]
  rows: number
  bytes: number
  /** What is in the target now and will be replaced; without it the tables are created. */
  replaced?: Replaced
  /** What is made again in a swap, or filled again: `view public.v`. */
  remade: string[]
  /** Of a merge: what readers have to wait for, clauses; empty where they never wait. */
  waits: string[]
  /** Foreign keys of tables outside the job that point into it, or the other way round: checked again before commit. */
  outside_foreign_keys: string[]
  /** What the operator should know: what differs, what is not carried, who waits. */
  notices: string[]
  /** True when the whole database is copied, so that sequences without an owner follow too. */
  whole: boolean
  /** Of the target's definitions when the plan was made; absent when they are created. Changed since: refused. */
  target_fingerprint?: string
  /** The route's guard, in percent; absent without one. */
  max_row_drop_pct?: number
}

/** Sizes of the tables that are replaced. */
export interface Replaced {
  /** Bytes of their rows, with TOAST. */
  bytes: number
  index_bytes: number
  /** Of a swap: tables, views and materialized views that move. */
  members: number
}

/** What an export will store. */
export interface ExportPlan {
  kind: 'export'
  source: string
  /** rows and bytes are estimates. */
  tables: Pick<PlannedTable, 'schema' | 'name' | 'rows' | 'bytes'>[]
  rows: number
  bytes: number
  /** True when the whole database is archived. */
  whole: boolean
}

export interface PlannedTable {
  schema: string
  name: string
  columns: Column[]
  /** Exact for a restore, an estimate for a sync. */
  rows: number
  bytes: number
  /** Estimate; absent when the table will be created. */
  target_rows?: number
}
