import { z } from 'zod'
import { aliasSchema, MAX_COLLECTIONS } from './job.ts'

/** What a job does to the search index, as plans and results tell it. Names and numbers. */

/** `full`: a new generation beside the live one. `incremental`: what differs. `pointed-back`: the alias to an earlier generation. */
export const searchModeSchema = z.enum(['full', 'incremental', 'pointed-back'])
export type SearchMode = z.infer<typeof searchModeSchema>

export const plannedCollectionSchema = z.object({
  alias: aliasSchema,
  mode: searchModeSchema,
  /** Why this mode. */
  reason: z.string(),
  /** Documents that are live now; absent where there is no index yet. */
  documents: z.int().nonnegative().optional(),
  notices: z.array(z.string()),
})
export type PlannedCollection = z.infer<typeof plannedCollectionSchema>

export const collectionResultSchema = z.object({
  alias: aliasSchema,
  /** `fresh`: the index holds what the database holds, proven. `stale`: what was live before the job is still live. */
  state: z.enum(['fresh', 'stale']),
  mode: searchModeSchema,
  reason: z.string(),
  /** The real name behind the alias now. */
  collection: z.string().optional(),
  /** Documents that are live now, proven equal in number to the rows; absent when stale. */
  documents: z.int().nonnegative().optional(),
  upserted: z.int().nonnegative(),
  deleted: z.int().nonnegative(),
  /** Documents read back and compared with their rows. */
  compared: z.int().nonnegative(),
  seconds: z.number().nonnegative(),
  /** Why it is stale. */
  code: z.string().max(64).optional(),
  message: z.string().max(2000).optional(),
  hint: z.string().max(2000).optional(),
  /** Errors of documents that the search server refused, normalised, with how often; never values. */
  details: z.array(z.string().max(2000)).max(100).optional(),
})
export type CollectionResult = z.infer<typeof collectionResultSchema>

export const searchResultSchema = z.object({
  /** `stale` as soon as one collection is. */
  state: z.enum(['fresh', 'stale']),
  collections: z.array(collectionResultSchema).max(MAX_COLLECTIONS),
})
export type SearchResult = z.infer<typeof searchResultSchema>
