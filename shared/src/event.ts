import { z } from 'zod'
import { phaseSchema } from './job.ts'

/** Events are facts that are kept, in order. Progress is the latest state, overwritten. */

export const levelSchema = z.enum(['debug', 'info', 'warning', 'error'])
export type Level = z.infer<typeof levelSchema>

/** Named in place, because it contains itself. */
const jsonSchema = z.json().register(z.globalRegistry, { id: 'Json' })

/** One event's data is at most this large once written as JSON. */
const EVENT_DATA_MAX_BYTES = 16 * 1024

/** What an agent sends. `aseq` counts from 1 without gaps within one epoch of a job, so that a batch can be sent twice. */
export const agentEventSchema = z.object({
  aseq: z.int().positive(),
  type: z.string().regex(/^[a-z]+(\.[a-z-]+)+$/),
  level: levelSchema,
  // PostgreSQL knows no year 0.
  at: z.iso.datetime().refine((at) => at >= '1970', 'no time of an event'),
  data: z.record(z.string(), jsonSchema).refine((data) => JSON.stringify(data).length <= EVENT_DATA_MAX_BYTES, {
    message: `at most ${EVENT_DATA_MAX_BYTES} bytes`,
  }),
})
export type AgentEvent = z.infer<typeof agentEventSchema>

/** What readers get. `pos` counts from 1 without gaps within a job, whoever wrote the event. */
export const jobEventSchema = z
  .object({
    pos: z.int().positive(),
    src: z.enum(['agent', 'control', 'user']),
    type: z.string(),
    level: levelSchema,
    at: z.iso.datetime(),
    data: z.record(z.string(), jsonSchema),
  })
  .meta({ id: 'Event' })
export type JobEvent = z.infer<typeof jobEventSchema>

/** The latest state of a running job. Bytes are uncompressed COPY text; rates are bytes per second. */
export const progressSchema = z
  .object({
    phase: phaseSchema,
    /** `schema.table`, or the alias of a collection, in work right now; absent between them. */
    table: z.string().optional(),
    tables_done: z.int().nonnegative(),
    tables_total: z.int().nonnegative(),
    rows: z.int().nonnegative(),
    bytes: z.int().nonnegative(),
    /** Expected bytes of this phase: an estimate from relation sizes, or the manifest's exact number. */
    bytes_total: z.int().nonnegative(),
    bytes_per_second: z.number().nonnegative(),
    /** While the search is reindexed: documents sent, and those of this collection that there are to send. */
    documents: z.int().nonnegative().optional(),
    documents_total: z.int().nonnegative().optional(),
    documents_per_second: z.number().nonnegative().optional(),
    /** Who keeps the job waiting right now: `Typesense`. */
    waiting_for: z.string().max(64).optional(),
    /** Seconds until the whole job ends, as far as it can be told. */
    eta_seconds: z.number().nonnegative().optional(),
    elapsed_seconds: z.number().nonnegative(),
  })
  .meta({ id: 'Progress' })
export type Progress = z.infer<typeof progressSchema>
