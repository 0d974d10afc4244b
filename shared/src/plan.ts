import { z } from 'zod'
import { databaseNameSchema, engineSchema, MAX_COLLECTIONS } from './job.ts'
import { plannedCollectionSchema } from './search.ts'

/** What a job will do, settled before anything is changed, as people and pages see it. Names and numbers. */
export const planViewSchema = z
  .object({
    kind: z.enum(['sync', 'restore', 'export', 'undo', 'reindex']),
    source: z.string(),
    /** Absent for an export and for a reindex. */
    target: databaseNameSchema.optional(),
    /** Absent for an export and for a reindex. */
    engine: engineSchema.optional(),
    /** Why this engine. */
    reason: z.string(),
    /** At most MAX_PLAN_TABLES; `table_count` counts all. */
    tables: z.array(
      z.object({
        name: z.string(),
        /** Exact for a restore, an estimate for a sync. */
        rows: z.int().nonnegative(),
        bytes: z.int().nonnegative(),
        /** Estimate; absent when the table will be created. */
        target_rows: z.int().nonnegative().optional(),
      }),
    ),
    table_count: z.int().nonnegative(),
    rows: z.int().nonnegative(),
    bytes: z.int().nonnegative(),
    /** What elsewhere points into the tables and is made again in the swap: `view public.v`. */
    remade: z.array(z.string()),
    /** Foreign keys to and from tables outside the job: proven before the commit. */
    outside_foreign_keys: z.array(z.string()),
    /** Who waits, on what and how long. */
    locks: z.string(),
    /** Bytes needed beside the target's tables while the job runs, and afterwards until the previous tables are dropped. */
    disk_bytes: z.int().nonnegative(),
    /** A rough estimate; absent when nothing is known. */
    seconds: z.number().nonnegative().optional(),
    notices: z.array(z.string()),
    /** Collections that follow the rows; absent where none does, or where the search is left alone. */
    search: z.array(plannedCollectionSchema).max(MAX_COLLECTIONS).optional(),
  })
  .meta({ id: 'Plan' })
export type PlanView = z.infer<typeof planViewSchema>

/** Of longer lists a plan shows this many: it travels in one request of at most 1 MiB. */
export const MAX_PLAN_TABLES = 2000

/** What was expected of a table and what was found in the target before the commit. */
export const tableProofSchema = z.object({
  table: z.string(),
  rows_expected: z.int().nonnegative(),
  rows_found: z.int().nonnegative(),
  checksum: z.enum(['equal', 'not-compared']),
})
export type TableProof = z.infer<typeof tableProofSchema>
