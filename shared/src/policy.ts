import { createHash } from 'node:crypto'
import { z } from 'zod'
import { aliasSchema, databaseNameSchema, MAX_COLLECTIONS, tablesSchema } from './job.ts'
import { collectionsSchema } from './mapping.ts'
import { parseWindow } from './policy-window.ts'
import { parseTablePattern, type TableName } from './table-pattern.ts'

/**
 * The agent's own policy, read from agent.yaml. What it does not allow does not happen, whatever was signed.
 * docs/CONFIGURATION.md is written from what is described here (`pnpm configuration`).
 */

const databaseSchema = z.strictObject({
  url_env: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/)
    .optional()
    .describe('The environment variable with the URL. Default: `<NAME>_DATABASE_URL`.'),
  role: z
    .enum(['source', 'target', 'both'])
    .describe('`source`: may be read. `target`: may be changed. `both`: either.'),
  protected: z.boolean().default(false).describe('Never a target unless a route names it.'),
  via_proxy: z
    .boolean()
    .default(false)
    .describe("Allow a URL that leads through a proxy which does not pass PostgreSQL's own backend pid."),
  // As text: JavaScript's numbers are too short for it.
  system_identifier: z
    .string('digits in quotes')
    .regex(/^\d{1,20}$/, 'digits in quotes')
    .optional()
    .describe(
      'The server that the URL must lead to, whatever its name or address: digits in quotes. `pnpm agent doctor` prints it.',
    ),
  database_oid: z
    .int()
    .positive()
    .max(4_294_967_295)
    .optional()
    .describe('The database on that server that the URL must lead to. `pnpm agent doctor` prints it.'),
})

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const
const isUnit = (text: string): text is keyof typeof SECONDS => Object.hasOwn(SECONDS, text)

/** Milliseconds of `90s`, `10m`, `12h` or `30d`; undefined for anything else. */
export function durationMs(text: string): number | undefined {
  const [, number, unit = ''] = /^([1-9]\d{0,6})([smhd])$/.exec(text) ?? []
  return number === undefined || !isUnit(unit) ? undefined : Number(number) * SECONDS[unit] * 1000
}

/** `60m` is `1h`: the same meaning has the same digest. */
function inLargestUnit(text: string): string {
  const seconds = (durationMs(text) ?? 0) / 1000
  const unit = (['d', 'h', 'm'] as const).find((one) => seconds % SECONDS[one] === 0) ?? 's'
  return `${seconds / SECONDS[unit]}${unit}`
}

const durationSchema = (longest: string) =>
  z
    .string()
    .refine(
      (text) => (durationMs(text) ?? Infinity) <= (durationMs(longest) ?? 0),
      `a time up to ${longest}, such as 10m`,
    )
    .overwrite(inLargestUnit)

const WINDOWS_MAX = 20
const windowSchema = z
  .string()
  .refine(
    (text) => parseWindow(text) !== undefined,
    'days, times and a time zone, such as Sat 02:00-05:00 Europe/Zurich',
  )

const routedKinds = ['sync', 'restore'] as const

const routeSchema = z.strictObject({
  from: databaseNameSchema.describe('The source, by its name in `databases`.'),
  to: databaseNameSchema.describe('The target, by its name in `databases`.'),
  tables: z
    .strictObject({
      include: tablesSchema
        .default(['*.*'])
        .describe('What flows: patterns `schema.table` with `*` and `?`; without a schema they mean `public`.'),
      exclude: tablesSchema.default([]).describe('What of it stays out, and keeps its rows.'),
    })
    .default({ include: ['*.*'], exclude: [] })
    .describe('Which tables may take this way.'),
  max_row_drop_pct: z
    .number()
    .min(0)
    .max(100)
    .optional()
    .describe('Refuse when a table would lose more than this share of its rows, in percent. Absent: no guard.'),
  collections: z
    .array(aliasSchema)
    .max(MAX_COLLECTIONS)
    .optional()
    .describe('Aliases of the search collections that follow what flows here. Absent: all whose rows are in `to`.'),
  kinds: z
    .array(z.enum(routedKinds))
    .min(1)
    .overwrite((kinds) => routedKinds.filter((kind) => kinds.includes(kind)))
    .optional()
    .describe('What may take this way; a restore is of an archive of `from`. Absent: both.'),
  window: z
    .union([windowSchema, z.array(windowSchema).min(1).max(WINDOWS_MAX)])
    .transform((texts) => (typeof texts === 'string' ? [texts] : texts))
    .optional()
    .describe(
      'Jobs begin while one of these is open: days (Mon to Sun, ranges, lists, daily), times, a time zone, such as `Sat 02:00-05:00 Europe/Zurich`. Absent: at any time.',
    ),
  max_jobs_per_day: z
    .int()
    .min(1)
    .max(10_000)
    .optional()
    .describe('So many jobs begin on `to` in any 24 hours, whatever route they take. Absent: any number.'),
  min_interval: durationSchema('1d')
    .optional()
    .describe("From one job's begin on `to` to the next one's, at most 1d: `90s`, `10m`, `12h`. Absent: none."),
  max_archive_age: durationSchema('3650d')
    .optional()
    .describe('Older archives of `from` are not restored: `12h`, `30d`. Absent: any archive is.'),
})
export type Route = z.infer<typeof routeSchema>

const limitsSchema = z.strictObject({
  concurrent_jobs: z.literal(1).default(1).describe('Jobs that run at the same time. One is all there is.'),
  connections_per_database: z
    .int()
    .min(1)
    .max(32)
    .default(4)
    .describe('Connections that a job opens to each of its databases to copy rows.'),
  lock_attempts: z
    .int()
    .min(1)
    .max(100)
    .default(8)
    .describe(
      "How often a job asks for the locks on its target's tables, 5 seconds each and with pauses between, before it gives up.",
    ),
})

const archiveSchema = z.strictObject({
  compression: z
    .enum(['gzip', 'zstd'])
    .default('gzip')
    .describe(
      "`gzip` is read everywhere; `zstd` costs half the CPU and is smaller, and psql's recipe then needs the command zstd. Older archives are read whatever this says.",
    ),
  level: z.int().min(1).max(9).default(1).describe('1 is the fastest; 9 takes many times its CPU.'),
})
export type Packing = z.infer<typeof archiveSchema>

export const policySchema = z.strictObject({
  databases: z
    .record(databaseNameSchema, databaseSchema)
    .describe('Each database by a name of yours: lower-case letters, digits and _.'),
  routes: z
    .array(routeSchema)
    .default([])
    .describe('What may flow where. Nothing else does. Tables that are replaced are always backed up first.'),
  verify: z
    .enum(['checksums', 'counts'])
    .default('checksums')
    .describe(
      'What is compared before a commit. `checksums`: rows and an order-independent checksum of every table; `counts`: rows only, faster.',
    ),
  limits: limitsSchema
    .default({ concurrent_jobs: 1, connections_per_database: 4, lock_attempts: 8 })
    .describe('What a job may take.'),
  archive: archiveSchema.default({ compression: 'gzip', level: 1 }).describe('How archives are written.'),
  collections: collectionsSchema
    .default({})
    .describe(
      'Search collections on a Typesense server by their aliases: how rows become documents. TYPESENSE.md tells more.',
    ),
})
export type Policy = z.infer<typeof policySchema>

/** What decides about a job, of a policy or of its view. Kinds and roles may be newer than we are. */
export interface Rules<Line extends RouteRules = RouteRules> {
  databases: Record<string, { role: string; protected: boolean }>
  routes: readonly Line[]
  collections?: Record<string, { database?: string | undefined }> | undefined
}

export type RouteRules = Pick<
  Route,
  'from' | 'to' | 'window' | 'max_jobs_per_day' | 'min_interval' | 'max_archive_age'
> & { kinds?: readonly string[] | undefined }

/** SHA-256 (hex) of the parsed policy in canonical form: the same for the same meaning, whatever the file's layout. */
export function policySha256(policy: Policy): string {
  return createHash('sha256').update(canonicalJson(policy)).digest('hex')
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonicalJson(inner)}`).join(',')}}`
  }
  return JSON.stringify(value)
}

/** Aliases of the collections whose rows are in a database. */
export function collectionsOf({ collections = {} }: Pick<Rules, 'collections'>, database: string): string[] {
  return Object.keys(collections).filter((alias) => collections[alias]?.database === database)
}

/** True when the route lets a table flow. `lineage` is the table and its partitioned ancestors: naming one of them names it. */
export function routeAllows(route: Pick<Route, 'tables'>, lineage: TableName[]): boolean {
  const named = (patterns: string[]): boolean =>
    patterns.map(parseTablePattern).some((pattern) => lineage.some(pattern.matches))
  return named(route.tables.include) && !named(route.tables.exclude)
}
