import { z } from 'zod'
import { agentEventSchema, progressSchema } from './event.ts'
import {
  agentIdSchema,
  databaseNameSchema,
  engineSchema,
  jobIdSchema,
  jobParamsSchema,
  outcomeSchema,
  phaseSchema,
  targetStateSchema,
} from './job.ts'
import { jobStates } from './job-state.ts'
import { archiveSummarySchema } from './manifest.ts'
import { sha256Schema } from './order.ts'
import { planViewSchema, tableProofSchema } from './plan.ts'
import { policyViewSchema } from './policy-view.ts'
import { searchResultSchema } from './search.ts'

/**
 * Bodies of protocol v1 (docs/PROTOCOL.md). Requests are strict, replies are loose: an older agent ignores what a newer
 * control plane adds. The control plane sees names, numbers and codes only.
 */

// Batches: at most 200 events and 256 KiB a request; the server refuses bodies over BODY_MAX_BYTES anyway.
export const BATCH_MAX_EVENTS = 200
export const BATCH_MAX_BYTES = 256 * 1024

/** Of any request but a completion. */
export const BODY_MAX_BYTES = 1024 * 1024
/**
 * Of a completion, which lists tables up to four times: plan, proof, archive and safety backup. 2,000 tables with names of
 * 127 characters are 1.9 MB. Functions take bodies of 4.5 MB at most.
 */
export const COMPLETE_MAX_BYTES = 4 * 1024 * 1024

const epochSchema = z.int().positive()
/** Free text on the server: an agent may know codes that its control plane does not. */
const codeSchema = z.string().max(64)
export const TEXT_MAX = 2000
const textSchema = z.string().max(TEXT_MAX)

export const inventorySchema = z.object({
  name: databaseNameSchema,
  role: z.enum(['source', 'target', 'both']),
  protected: z.boolean(),
})

export const pollRequestSchema = z.strictObject({
  version: z.string().max(64),
  boot_id: z.string().max(64),
  policy: policyViewSchema,
  policy_sha256: sha256Schema,
  trusted_kids: z.array(z.string().max(128)).max(32),
  databases: z.array(inventorySchema).max(200),
  running: z.array(z.object({ job: jobIdSchema, epoch: epochSchema, phase: phaseSchema.optional() })).max(16),
})
export type PollRequest = z.infer<typeof pollRequestSchema>

export const pollReplySchema = z.looseObject({
  poll_after_ms: z.int().positive(),
  order: z.string().optional(),
  cancel: z.array(z.string()),
})
export type PollReply = z.infer<typeof pollReplySchema>

export const acceptRequestSchema = z.strictObject({
  epoch: epochSchema,
  verdict: z.enum(['accepted', 'refused']),
  code: codeSchema.optional(),
  message: textSchema.optional(),
  hint: textSchema.optional(),
})
export type AcceptRequest = z.infer<typeof acceptRequestSchema>

export const acceptReplySchema = z.looseObject({ lease_ms: z.int().nonnegative() })

export const reportRequestSchema = z.strictObject({
  epoch: epochSchema,
  phase: phaseSchema,
  /** How long nothing has moved, in milliseconds: alive but stalled is visible. */
  stalled_ms: z.int().nonnegative(),
  progress: progressSchema.optional(),
  events: z.array(agentEventSchema).max(BATCH_MAX_EVENTS),
})
export type ReportRequest = z.infer<typeof reportRequestSchema>

export const reportReplySchema = z.looseObject({
  lease_ms: z.int().nonnegative(),
  cancel: z.boolean(),
  ack_aseq: z.int().nonnegative(),
  next_batch_ms: z.int().positive(),
  /** How long an agent with nothing new to tell may be silent, where that is less than its lease allows. */
  renew_after_ms: z.int().positive().optional(),
})
export type ReportReply = z.infer<typeof reportReplySchema>

/** The row in the target that proves what a job did there. */
export const receiptSchema = z.object({
  job: z.string(),
  epoch: z.int().nonnegative(),
  fence: z.int().nonnegative(),
  archive: z.string(),
  engine: engineSchema,
  committed_at: z.iso.datetime(),
})
export type Receipt = z.infer<typeof receiptSchema>

export const DETAILS_MAX = 1000

/** The end of a job: the command line prints it, the agent completes with it, the API shows it. */
export const jobResultSchema = z
  .object({
    outcome: outcomeSchema,
    code: codeSchema.optional(),
    message: textSchema.optional(),
    hint: textSchema.optional(),
    details: z.array(textSchema).max(DETAILS_MAX).optional(),
    engine: engineSchema.optional(),
    target_state: targetStateSchema,
    receipt: receiptSchema.optional(),
    archive: archiveSummarySchema.optional(),
    safety_backup: archiveSummarySchema.optional(),
    tables: z.int().nonnegative(),
    rows: z.int().nonnegative(),
    /** Uncompressed COPY text. */
    bytes: z.int().nonnegative(),
    /** What was or would be done; of a dry run all there is. */
    plan: planViewSchema.optional(),
    /** Table by table, of a job that succeeded. At most 2,000. */
    proof: z.array(tableProofSchema).max(2000).optional(),
    /** True when the replaced tables are kept, so that an undo takes a moment. */
    undoable: z.boolean().optional(),
    /** Rows written to the replaced tables while the job ran: they are in the previous tables, not in the new ones. */
    late_writes: z.int().nonnegative().optional(),
    /** What became of the search index. A job that succeeded may have left it stale: `reindex` mends that alone. */
    search: searchResultSchema.optional(),
    seconds: z.number().nonnegative(),
    peak_rss_mb: z.number().nonnegative(),
  })
  .meta({ id: 'JobResult' })
export type JobResult = z.infer<typeof jobResultSchema>

export const completeRequestSchema = z.strictObject({
  epoch: epochSchema,
  result: jobResultSchema,
  last_aseq: z.int().nonnegative(),
})
export type CompleteRequest = z.infer<typeof completeRequestSchema>

/** 200 with the final state, or 202 while events up to last_aseq are missing. */
export const completeReplySchema = z.looseObject({ state: z.string(), ack_aseq: z.int().nonnegative() })

export const archivesRequestSchema = z.strictObject({ archives: z.array(archiveSummarySchema).max(500) })
/** `signing_kid`: of the key that orders are signed with, to be compared with the trust file, never put into it. */
export const archivesReplySchema = z.looseObject({
  archives: z.int().nonnegative(),
  signing_kid: z.string().max(128).optional(),
})
export type ArchivesRequest = z.infer<typeof archivesRequestSchema>

/** A job as people see it. In lists its result comes without plan and proof. */
export const jobViewSchema = z
  .object({
    id: jobIdSchema,
    agent: agentIdSchema,
    params: jobParamsSchema,
    state: z.enum(jobStates),
    phase: phaseSchema.nullable(),
    target_state: targetStateSchema,
    requested_by: z.string(),
    created_at: z.iso.datetime(),
    started_at: z.iso.datetime().nullable(),
    finished_at: z.iso.datetime().nullable(),
    cancel_requested_at: z.iso.datetime().nullable(),
    start_before: z.iso.datetime(),
    stalled_ms: z.int().nullable(),
    progress: progressSchema.nullable(),
    result: jobResultSchema.nullable(),
    /** The job that put back what this one had replaced. */
    undone_by: jobIdSchema.nullable(),
    /** Of a refusal or failure, also before there is a result. */
    code: z.string().nullable(),
    message: z.string().nullable(),
    hint: z.string().nullable(),
  })
  .meta({ id: 'Job' })
export type JobView = z.infer<typeof jobViewSchema>

/** Seconds until the job must have been begun; then it expires. */
const startWithinSchema = z.int().min(1).max(86_400).optional()

/** Body of POST /v1/jobs: a job's params, flat, and who should do it when several agents could. */
export const createJobSchema = z
  .looseObject({ agent: agentIdSchema.optional(), start_within_seconds: startWithinSchema })
  .transform(({ agent, start_within_seconds, ...rest }, context) => {
    const params = jobParamsSchema.safeParse(rest)
    if (params.success) return { agent, start_within_seconds, params: params.data }
    for (const { message, path } of params.error.issues) context.addIssue({ code: 'custom', message, path })
    return z.NEVER
  })
export type CreateJob = z.infer<typeof createJobSchema>

/** The same as callers write it: what the document of the API shows. */
export const createJobBodySchema = z.union(
  jobParamsSchema.options.map((params) =>
    params.extend({ agent: agentIdSchema.optional(), start_within_seconds: startWithinSchema }),
  ),
)

/** Body of POST /v1/jobs/:id/undo; may be left out. */
export const undoJobSchema = z.strictObject({
  dry_run: z.literal(true).optional(),
  start_within_seconds: startWithinSchema,
})

/** RFC 9457, application/problem+json: what makes an answer ours, and not a proxy's. */
export const problemSchema = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  hint: z.string().optional(),
  retryable: z.boolean().optional(),
  errors: z.array(z.object({ field: z.string(), message: z.string() })).optional(),
  ack_aseq: z.int().optional(),
  /** The request's id, as in x-request-id. */
  instance: z.string().optional(),
})
export type Problem = z.infer<typeof problemSchema>
