import { z } from 'zod'
import { aliasSchema, databaseNameSchema } from './job.ts'
import { durationMs, type Policy } from './policy.ts'
import { parseWindow } from './policy-window.ts'

/*
 * The policy as the control plane sees it, to say in advance what the agent would say: names, routes and limits; of a
 * collection only whose rows are in it, never how it is made of them; no environment, no fingerprints.
 *
 * An agent may be newer than its control plane. What is not known here is left out, so that nobody's poll is refused for
 * it: the answer in advance may then be too generous, and the agent decides.
 */

/** Absent where it says something that we do not understand. */
const lenient = <Schema extends z.ZodType>(schema: Schema) => schema.optional().catch(undefined)
const duration = lenient(z.string().refine((text) => durationMs(text) !== undefined))

/** More than any policy has; each is looked at for every answer. */
const WINDOWS_MAX = 100

const routeViewSchema = z.object({
  from: z.string(),
  to: z.string(),
  tables: z
    .object({ include: z.array(z.string()).default(['*.*']), exclude: z.array(z.string()).default([]) })
    .default({ include: ['*.*'], exclude: [] }),
  max_row_drop_pct: lenient(z.number()),
  collections: lenient(z.array(aliasSchema)),
  kinds: lenient(z.array(z.string())),
  window: lenient(z.array(z.string().refine((text) => parseWindow(text) !== undefined)).max(WINDOWS_MAX)),
  max_jobs_per_day: lenient(z.int().positive()),
  min_interval: duration,
  max_archive_age: duration,
})

export const policyViewSchema = z.object({
  databases: z.record(databaseNameSchema, z.object({ role: z.string(), protected: z.boolean().default(false) })),
  routes: z.array(routeViewSchema).default([]),
  verify: lenient(z.string()),
  limits: z
    .object({ concurrent_jobs: z.int().positive().default(1), connections_per_database: lenient(z.int()) })
    .default({ concurrent_jobs: 1 }),
  collections: z.record(aliasSchema, z.object({ database: databaseNameSchema })).optional(),
})
export type PolicyView = z.infer<typeof policyViewSchema>

export function viewPolicy({ databases, routes, verify, limits, collections }: Policy): PolicyView {
  const told = Object.entries(collections).flatMap(([alias, { database }]) =>
    database === undefined ? [] : [[alias, { database }] as const],
  )
  const { concurrent_jobs, connections_per_database } = limits
  return {
    databases: Object.fromEntries(
      Object.entries(databases).map(([name, { role, protected: isProtected }]) => [
        name,
        { role, protected: isProtected },
      ]),
    ),
    routes,
    verify,
    limits: { concurrent_jobs, connections_per_database },
    // A control plane that does not know the word would refuse it, and need not where there is nothing to say.
    ...(told.length === 0 ? {} : { collections: Object.fromEntries(told) }),
  }
}
