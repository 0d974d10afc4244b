import { z } from 'zod'
import type { Collection } from './typesense.ts'

/* The answers of the search server that are read, of version 0.25 to 30: what a version lacks has a default. */

export const debugSchema = z.object({ version: z.string().max(200) })
export const healthSchema = z.object({ ok: z.boolean(), resource_error: z.string().max(100).optional() })
export const statusSchema = z.object({ queued_writes: z.int().nonnegative() })
export const statsSchema = z.object({ pending_write_batches: z.int().nonnegative() })
const bytesSchema = z.coerce.number().nonnegative()
export const metricsSchema = z.object({
  system_memory_total_bytes: bytesSchema,
  system_memory_used_bytes: bytesSchema,
  system_disk_total_bytes: bytesSchema,
  system_disk_used_bytes: bytesSchema,
})
export const aliasSchema = z.object({ name: z.string(), collection_name: z.string() })
export const aliasesSchema = z.object({ aliases: z.array(aliasSchema) })
export const searchSchema = z.object({ found: z.int().nonnegative() })
export const deletedSchema = z.object({ num_deleted: z.int().nonnegative() })
export const namedSchema = z.object({ name: z.string() })
export const setsSchema = z.array(namedSchema)
const belongingSchema = z.record(z.string(), z.unknown()).and(z.object({ id: z.string().min(1) }))
export const synonymsSchema = z.object({ synonyms: z.array(belongingSchema) })
export const overridesSchema = z.object({ overrides: z.array(belongingSchema) })

const fieldSchema = z.object({
  name: z.string(),
  type: z.string(),
  optional: z.boolean().optional(),
  facet: z.boolean().optional(),
  index: z.boolean().optional(),
  infix: z.boolean().optional(),
  sort: z.boolean().optional(),
  stem: z.boolean().optional(),
  store: z.boolean().optional(),
  range_index: z.boolean().optional(),
  locale: z.string().optional(),
  reference: z.string().optional(),
})

const collectionSchema = z
  .object({
    name: z.string(),
    num_documents: z.int().nonnegative(),
    fields: z.array(fieldSchema),
    default_sorting_field: z.string().default(''),
    enable_nested_fields: z.boolean().default(false),
    token_separators: z.array(z.string()).default([]),
    symbols_to_index: z.array(z.string()).default([]),
    metadata: z.record(z.string(), z.unknown()).nullish(),
    synonym_sets: z.array(z.string()).nullish(),
    curation_sets: z.array(z.string()).nullish(),
  })
  .transform(({ num_documents, metadata, synonym_sets, curation_sets, ...schema }) => ({
    ...schema,
    documents: num_documents,
    metadata: metadata ?? {},
    synonymSets: synonym_sets ?? [],
    curationSets: curation_sets ?? [],
  }))

export function parseCollection(answer: unknown): Collection {
  return dropUndefined(collectionSchema.parse(answer))
}

export function parseCollections(answer: unknown): Collection[] {
  return z.array(collectionSchema).parse(answer).map(dropUndefined)
}

/** zod leaves out what is absent, but its types say that it may be undefined. */
function dropUndefined(parsed: z.infer<typeof collectionSchema>): Collection {
  return { ...parsed, fields: parsed.fields.map((field) => ({ ...field }) as Collection['fields'][number]) }
}
