import { z } from 'zod'
import { aliasSchema, databaseNameSchema, tablesSchema } from './job.ts'

/*
 * How rows become search documents: `collections:` of agent.yaml. What a type of PostgreSQL becomes is decided in SQL, never by
 * the search server; what cannot be exact is refused when the mapping meets the catalogue (docs/TYPESENSE.md has the table).
 */

export const fieldTypes = [
  'string',
  'string[]',
  'int32',
  'int32[]',
  'int64',
  'int64[]',
  'float',
  'float[]',
  'bool',
  'bool[]',
  'geopoint',
  'object',
  'object[]',
] as const
export type FieldType = (typeof fieldTypes)[number]

const columnNameSchema = z.string().min(1).max(63)

/** A word of the search server's that would be taken for a slip of the pen. */
const notYet = (why: string) => z.undefined(`${why}: leave the field out`).optional()

const fieldSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z_][\w.-]*$/, 'letters, digits, _, - and . for nested fields')
    .refine((name) => name !== 'id', 'id is the document id: name its column with `id:`'),
  /** The column that it is made of; default: the one of its own name. */
  column: columnNameSchema.optional(),
  /** Latitude and longitude, of a geopoint. */
  columns: z.tuple([columnNameSchema, columnNameSchema]).optional(),
  type: z.enum(fieldTypes),
  /** How a time or a number is written: seconds or milliseconds since 1970, ISO 8601, or its own text. */
  as: z.enum(['epoch_s', 'epoch_ms', 'iso', 'text']).optional(),
  /** A value that float cannot hold exactly is let through, rounded. */
  approximate: z.literal(true).optional(),
  optional: z.boolean().optional(),
  facet: z.boolean().optional(),
  index: z.boolean().optional(),
  infix: z.boolean().optional(),
  sort: z.boolean().optional(),
  stem: z.boolean().optional(),
  store: z.boolean().optional(),
  range_index: z.boolean().optional(),
  locale: z.string().max(16).optional(),
  reference: z.string().max(300).optional(),
  num_dim: notYet('vectors are not carried yet'),
  embed: notYet('vectors are not carried yet, nor are fields that the server makes itself'),
})
export type MappedField = z.infer<typeof fieldSchema>

const verifySchema = z.strictObject({
  /** Fewer documents are never made live. */
  min_count: z.int().nonnegative().default(1),
  /** Refuse to make live what has lost more than this share of its documents, in percent. */
  max_shrink_pct: z.number().min(0).max(100).default(30),
  /** So many documents are read back and compared with their rows. */
  sample: z.int().nonnegative().max(10_000).default(200),
})

export const mappingSchema = z.strictObject({
  /** Whose rows they are. Default: the only database that routes lead to. */
  database: databaseNameSchema.optional(),
  /** A table or view: schema.table, names as they are, quoted where they hold dots. Or: */
  from: z.string().min(1).max(300).optional(),
  /** One query, read only, a row a document. Every name in it bears its schema. */
  sql: z.string().min(1).max(20_000).optional(),
  /** Further tables whose change touches these documents. */
  depends_on: tablesSchema.default([]),
  /** The column of the document's id: unique, never null. */
  id: columnNameSchema.default('id'),
  fields: z.array(fieldSchema).min(1).max(500),
  /** Columns that are stored in the document and not indexed. */
  display_only: z.array(columnNameSchema).max(200).default([]),
  collection: z
    .strictObject({
      default_sorting_field: z.string().max(128).optional(),
      enable_nested_fields: z.boolean().optional(),
      token_separators: z.array(z.string().length(1)).optional(),
      symbols_to_index: z.array(z.string().length(1)).optional(),
    })
    .default({}),
  verify: verifySchema.default({ min_count: 1, max_shrink_pct: 30, sample: 200 }),
  /** Previous generations that are kept, for undo. */
  keep: z.int().min(0).max(10).default(1),
  /** A collection of our own making takes the place of a plain one that bears the alias's name. */
  adopt: z.boolean().default(false),
})
export type Mapping = z.infer<typeof mappingSchema>
export const collectionsSchema = z.record(aliasSchema, mappingSchema)
