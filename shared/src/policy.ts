import { createHash } from 'node:crypto'
import { z } from 'zod'
import { aliasSchema, databaseNameSchema, MAX_COLLECTIONS, tablesSchema, type JobParams } from './job.ts'
import type { ArchiveKind } from './manifest.ts'
import { collectionsSchema } from './mapping.ts'
import { parseTablePattern, type TableName } from './table-pattern.ts'
import { SyncError, type SyncErrorCode } from './sync-error.ts'

/** The agent's own policy, read from agent.yaml. What it does not allow does not happen, whatever was signed. */

const databaseSchema = z.strictObject({
  /** Name of the environment variable with the URL. Default: <NAME>_DATABASE_URL. */
  url_env: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/)
    .optional(),
  role: z.enum(['source', 'target', 'both']),
  /** Never a target unless a route names it. */
  protected: z.boolean().default(false),
  /** Allow a URL that leads through a proxy which does not pass PostgreSQL's own backend pid. */
  via_proxy: z.boolean().default(false),
})

const routeSchema = z.strictObject({
  from: databaseNameSchema,
  to: databaseNameSchema,
  tables: z
    .strictObject({ include: tablesSchema.default(['*.*']), exclude: tablesSchema.default([]) })
    .default({ include: ['*.*'], exclude: [] }),
  /** Refuse when a table would lose more than this share of its rows, in percent. Absent: no guard. */
  max_row_drop_pct: z.number().min(0).max(100).optional(),
  /** Aliases of the collections that follow what flows here. Absent: all whose rows are in `to`. */
  collections: z.array(aliasSchema).max(MAX_COLLECTIONS).optional(),
})
export type Route = z.infer<typeof routeSchema>

const limitsSchema = z.strictObject({
  concurrent_jobs: z.literal(1).default(1),
  connections_per_database: z.int().min(1).max(32).default(4),
  /** How often a job asks for the locks on its target's tables, 5 seconds each and with pauses between, before it gives up. */
  lock_attempts: z.int().min(1).max(100).default(8),
})

export const policySchema = z.strictObject({
  databases: z.record(databaseNameSchema, databaseSchema),
  routes: z.array(routeSchema).default([]),
  /** `checksums`: rows and an order-independent checksum of every table; `counts`: rows only. */
  verify: z.enum(['checksums', 'counts']).default('checksums'),
  limits: limitsSchema.default({ concurrent_jobs: 1, connections_per_database: 4, lock_attempts: 8 }),
  /** Search collections by their aliases: how rows become documents. */
  collections: collectionsSchema.default({}),
})
export type Policy = z.infer<typeof policySchema>

/** The policy as the control plane sees it: of a collection only whose rows are in it, never how it is made of them. */
export const policyViewSchema = policySchema.extend({
  collections: z.record(aliasSchema, z.object({ database: databaseNameSchema })).optional(),
})
export type PolicyView = z.infer<typeof policyViewSchema>

export function viewPolicy({ collections, ...rest }: Policy): PolicyView {
  const told = Object.entries(collections).flatMap(([alias, { database }]) =>
    database === undefined ? [] : [[alias, { database }] as const],
  )
  // A control plane that does not know the word would refuse it, and need not where there is nothing to say.
  return told.length === 0 ? rest : { ...rest, collections: Object.fromEntries(told) }
}

/** What decides about a job, of a policy or of its view. */
export type Rules = Pick<Policy, 'databases' | 'routes'> & {
  collections?: Record<string, { database?: string | undefined }> | undefined
}

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

/** What a restore needs to know of its archive for the policy to decide. */
export interface ArchiveOrigin {
  source: string
  kind: ArchiveKind
  /** ISO 8601. */
  created_at: string
}

/** What is not in the job itself and decides all the same. */
export interface PolicyFacts {
  now: Date
  /** Of a restore. */
  archive?: ArchiveOrigin | undefined
  /** When jobs were begun on this target, in the day before `now`; in any order. */
  begun?: readonly Date[]
}

export type PolicyVerdict =
  | { allowed: true; route: Route | undefined }
  | { allowed: false; code: SyncErrorCode; message: string; hint: string }

/**
 * What the agent says to a job. Pure, so that the control plane can show the answer in advance; the agent decides.
 * Deny by default. `facts.archive` is needed for a restore. A safety backup may always go back to where it was taken from,
 * when that database is a target of some route.
 */
export function evaluatePolicy(policy: Rules, params: JobParams, facts: PolicyFacts): PolicyVerdict {
  const named =
    params.kind === 'export' || params.kind === 'reindex'
      ? [params.source]
      : params.kind === 'sync'
        ? [params.source, params.target]
        : [params.target]
  for (const name of named) {
    if (!Object.hasOwn(policy.databases, name)) {
      return deny('database-unknown', `The agent knows no database "${name}".`, `It knows: ${known(policy)}.`)
    }
  }
  switch (params.kind) {
    case 'export':
      return policy.databases[params.source]?.role === 'target'
        ? deny(
            'policy-denied',
            `The policy gives "${params.source}" the role target only.`,
            'Give it the role source or both in agent.yaml.',
          )
        : { allowed: true, route: undefined }
    case 'sync':
      if (params.source === params.target) {
        return deny('same-database', 'Source and target are the same database.', 'Name two different databases.')
      }
      return evaluateFlow(policy, params.source, params.target)
    case 'reindex':
      return evaluateReindex(policy, params.source, params.collections)
    case 'undo':
      return isTargeted(policy, params.target)
        ? { allowed: true, route: undefined }
        : deny('policy-denied', `No route of the policy leads to "${params.target}".`, 'Only a target can be undone.')
    case 'restore': {
      const { archive } = facts
      if (!archive)
        return deny('archive-unknown', 'The archive is not known.', 'List the archives and name one of them.')
      const isPutBack = archive.kind === 'safety-backup' && archive.source === params.target
      if (isPutBack && isTargeted(policy, params.target)) return { allowed: true, route: undefined }
      return evaluateFlow(policy, archive.source, params.target)
    }
  }
}

/** Aliases of the collections whose rows are in a database. */
export function collectionsOf({ collections = {} }: Rules, database: string): string[] {
  return Object.keys(collections).filter((alias) => collections[alias]?.database === database)
}

function evaluateReindex(policy: Rules, source: string, asked: string[] | undefined): PolicyVerdict {
  const own = collectionsOf(policy, source)
  const isRouted = policy.routes.some(({ from, to }) => from === source || to === source)
  if (own.length === 0 && !isRouted) {
    return deny(
      'policy-denied',
      `The policy has neither a route nor a collection with "${source}".`,
      'Add the collection to agent.yaml on the agent, if it is meant.',
    )
  }
  if (own.length === 0) {
    return deny(
      'collection-unknown',
      `No collection of the policy is made of the rows of "${source}".`,
      'Collections stand in agent.yaml on the agent.',
    )
  }
  const foreign = asked?.find((alias) => !own.includes(alias))
  if (foreign === undefined) return { allowed: true, route: undefined }
  const elsewhere = Object.hasOwn(policy.collections ?? {}, foreign) ? policy.collections?.[foreign] : undefined
  return deny(
    'collection-unknown',
    elsewhere
      ? `The collection "${foreign}" is not made of the rows of "${source}".`
      : `The agent knows no collection "${foreign}".`,
    `Of "${source}" it knows: ${own.join(', ')}.`,
  )
}

function isTargeted(policy: Rules, name: string): boolean {
  return policy.databases[name]?.role !== 'source' && policy.routes.some((route) => route.to === name)
}

/** True when the route lets a table flow. `lineage` is the table and its partitioned ancestors: naming one of them names it. */
export function routeAllows(route: Route, lineage: TableName[]): boolean {
  const named = (patterns: string[]): boolean =>
    patterns.map(parseTablePattern).some((pattern) => lineage.some(pattern.matches))
  return named(route.tables.include) && !named(route.tables.exclude)
}

/** The verdict as an error to throw. */
export function policyError(verdict: Extract<PolicyVerdict, { allowed: false }>): SyncError {
  return new SyncError(verdict.code, verdict.message, { hint: verdict.hint })
}

function evaluateFlow(policy: Rules, from: string, to: string): PolicyVerdict {
  const target = policy.databases[to]
  const route = policy.routes.find((line) => line.from === from && line.to === to)
  if (route && target?.role !== 'source' && policy.databases[from]?.role !== 'target') return { allowed: true, route }
  if (target?.protected) {
    return deny(
      'target-protected',
      `"${to}" is protected: it is never a target.`,
      'Only a route in agent.yaml on the agent itself can change this.',
    )
  }
  return deny(
    'policy-denied',
    `The policy has no route from "${from}" to "${to}".`,
    'Add the route to agent.yaml on the agent, if it is meant.',
  )
}

function known(policy: Rules): string {
  return Object.keys(policy.databases).join(', ') || 'none'
}

function deny(code: SyncErrorCode, message: string, hint: string): PolicyVerdict {
  return { allowed: false, code, message, hint }
}
