import { z } from 'zod'
import { isTablePattern } from './table-pattern.ts'

/** Words for jobs that the API, the orders, the agent and its command line share. */

export const jobKinds = ['sync', 'export', 'restore', 'undo', 'reindex'] as const
export const jobKindSchema = z.enum(jobKinds)
export type JobKind = z.infer<typeof jobKindSchema>

/** How the target is changed. `auto` lets the plan choose and say why. */
export const engineSchema = z.enum(['swap', 'create', 'merge', 'truncate'])
export type Engine = z.infer<typeof engineSchema>
export const engineChoiceSchema = z.enum(['auto', ...engineSchema.options])
export type EngineChoice = z.infer<typeof engineChoiceSchema>

export const outcomeSchema = z.enum(['succeeded', 'failed', 'refused', 'canceled'])
export type Outcome = z.infer<typeof outcomeSchema>

/** What a job left behind in its target: the question an operator asks first. */
export const targetStateSchema = z.enum(['untouched', 'changed', 'rolled_back', 'unknown'])
export type TargetState = z.infer<typeof targetStateSchema>

export const phaseSchema = z.enum([
  'preflight',
  'exporting',
  'backing-up',
  'staging',
  'loading',
  'building',
  'proving',
  'swapping',
  'reindexing',
  'cleanup',
])
export type Phase = z.infer<typeof phaseSchema>

/** A database's name as the agent knows it: `staging` for STAGING_DATABASE_URL. */
export const databaseNameSchema = z.string().regex(/^[a-z][a-z0-9_]{0,62}$/, 'lower-case letters, digits and _')
export const agentIdSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'lower-case letters, digits and -')
export const jobIdSchema = z.string().regex(/^j[0-9a-hjkmnp-tv-z]{12}$/, 'a job id such as j4k7q2m9xw1ab')

/** The alias that an application searches. A generation behind it is called `<alias>__<time>_<job>`. */
export const aliasSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,59}$/, 'letters, digits, - and _, at most 60')
  .refine((name) => !name.includes('__'), 'two underscores in a row are kept for generations')
/** More collections than anybody has: a result of this many still travels in one request. */
export const MAX_COLLECTIONS = 200

/** True: the job ends after its plan, which is part of its result. Absent: it is done. */
const dryRunSchema = z.literal(true).optional()

/** False: the search index is left as it is, whatever becomes of the rows. Absent: it follows them. */
const reindexSchema = z.literal(false).optional()

/** Sorts by time, reads aloud, and is one path segment: `20261122T080312Z-production-k7f2`. */
export const archiveIdSchema = z
  .string()
  .regex(/^\d{8}T\d{6}Z-[a-z][a-z0-9_]{0,62}-[0-9a-z]{4}$/, 'an archive id such as 20261122T080312Z-production-k7f2')

/** A table pattern: `public.Component`, `public.*`, `"my.schema"."my.table"`; without a schema it means `public`. */
const tablePatternSchema = z
  .string()
  .min(1)
  .max(300)
  .refine(isTablePattern, 'a table pattern has the form schema.table; names with dots stand in double quotes')
export const tablesSchema = z.array(tablePatternSchema).max(1000)

export const jobParamsSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('sync'),
    source: databaseNameSchema,
    target: databaseNameSchema,
    tables: tablesSchema.optional(),
    engine: engineChoiceSchema.default('auto'),
    reindex: reindexSchema,
    dry_run: dryRunSchema,
  }),
  z.strictObject({
    kind: z.literal('export'),
    source: databaseNameSchema,
    tables: tablesSchema.optional(),
    dry_run: dryRunSchema,
  }),
  z.strictObject({
    kind: z.literal('restore'),
    archive: archiveIdSchema,
    target: databaseNameSchema,
    tables: tablesSchema.optional(),
    engine: engineChoiceSchema.default('auto'),
    reindex: reindexSchema,
    dry_run: dryRunSchema,
  }),
  /** Puts back what `job` replaced in `target`: the previous tables, or where they are gone its safety backup. */
  z.strictObject({
    kind: z.literal('undo'),
    target: databaseNameSchema,
    job: jobIdSchema,
    reindex: reindexSchema,
    dry_run: dryRunSchema,
  }),
  /** Makes search collections equal to the rows of `source` again. Changes no database. */
  z.strictObject({
    kind: z.literal('reindex'),
    source: databaseNameSchema,
    /** By their aliases. Absent: all whose rows are in `source`. */
    collections: z.array(aliasSchema).min(1).max(MAX_COLLECTIONS).optional(),
    /** A new generation, also where bringing the live one up to date would do. */
    full: z.literal(true).optional(),
    dry_run: dryRunSchema,
  }),
])
export type JobParams = z.infer<typeof jobParamsSchema>

// Crockford's base 32 in lower case: no i, l, o, u, so an id can be read aloud.
const ID_ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

/** A new job id: `j` and 12 random characters (60 bits). */
export function newJobId(): string {
  return `j${randomText(12)}`
}

/** `length` random characters that can be read aloud. */
export function randomText(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length))
  return Array.from(bytes, (byte) => ID_ALPHABET[byte % 32]).join('')
}

/** A new archive id. `at` gives the time, `source` the database's name. */
export function newArchiveId(at: Date, source: string): string {
  const time = at
    .toISOString()
    .replaceAll(/[-:]/g, '')
    .replace(/\.\d+Z$/, 'Z')
  return `${time}-${source}-${randomText(4)}`
}
