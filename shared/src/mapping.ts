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
    .refine((name) => name !== 'id', 'id is the document id: name its column with `id:`')
    .describe('Its name in the document: letters, digits, _, - and . for nested fields.'),
  column: columnNameSchema.optional().describe('The column that it is made of; default: the one of its own name.'),
  columns: z.tuple([columnNameSchema, columnNameSchema]).optional().describe('Latitude and longitude, of a geopoint.'),
  type: z.enum(fieldTypes).describe('Its type on the search server.'),
  as: z
    .enum(['epoch_s', 'epoch_ms', 'iso', 'text'])
    .optional()
    .describe('How a time or a number is written: seconds or milliseconds since 1970, ISO 8601, or its own text.'),
  approximate: z.literal(true).optional().describe('A value that float cannot hold exactly is let through, rounded.'),
  optional: z.boolean().optional().describe('The document may be without it: the column may be null.'),
  facet: z.boolean().optional().describe('Typesense: can be counted by value.'),
  index: z.boolean().optional().describe('Typesense: false keeps it in the document without an index.'),
  infix: z.boolean().optional().describe('Typesense: can be found by its middle.'),
  sort: z.boolean().optional().describe('Typesense: can be sorted by.'),
  stem: z.boolean().optional().describe('Typesense: words are found by their stem.'),
  store: z.boolean().optional().describe('Typesense: false leaves it out of the document that is shown.'),
  range_index: z.boolean().optional().describe('Typesense: faster ranges.'),
  locale: z.string().max(16).optional().describe('Typesense: the language of its words.'),
  reference: z.string().max(300).optional().describe('Typesense: the field of another collection that it points to.'),
  num_dim: notYet('vectors are not carried yet'),
  embed: notYet('vectors are not carried yet, nor are fields that the server makes itself'),
})
export type MappedField = z.infer<typeof fieldSchema>

const verifySchema = z.strictObject({
  min_count: z.int().nonnegative().default(1).describe('Fewer documents are never made live.'),
  max_shrink_pct: z
    .number()
    .min(0)
    .max(100)
    .default(30)
    .describe('Refuse to make live what has lost more than this share of its documents, in percent.'),
  sample: z
    .int()
    .nonnegative()
    .max(10_000)
    .default(200)
    .describe('So many documents are read back and compared with their rows.'),
})

export const mappingSchema = z.strictObject({
  database: databaseNameSchema
    .optional()
    .describe('Whose rows they are. Default: the only database that routes lead to.'),
  from: z
    .string()
    .min(1)
    .max(300)
    .optional()
    .describe('A table or view: schema.table, names as they are, quoted where they hold dots. This or `sql`.'),
  sql: z
    .string()
    .min(1)
    .max(20_000)
    .optional()
    .describe('One query, read only, a row a document. Every name in it bears its schema.'),
  depends_on: tablesSchema.default([]).describe('Further tables whose change touches these documents.'),
  id: columnNameSchema.default('id').describe("The column of the document's id: unique, never null."),
  fields: z.array(fieldSchema).min(1).max(500).describe('What of a row is searched.'),
  display_only: z
    .array(columnNameSchema)
    .max(200)
    .default([])
    .describe('Columns that are stored in the document and not indexed.'),
  collection: z
    .strictObject({
      default_sorting_field: z
        .string()
        .max(128)
        .optional()
        .describe('Typesense: what is sorted by when a search does not say.'),
      enable_nested_fields: z.boolean().optional().describe('Typesense: objects within documents.'),
      token_separators: z.array(z.string().length(1)).optional().describe('Typesense: characters that end a word.'),
      symbols_to_index: z
        .array(z.string().length(1))
        .optional()
        .describe('Typesense: characters that belong to words.'),
    })
    .default({})
    .describe('What Typesense is told of the collection as a whole.'),
  verify: verifySchema
    .default({ min_count: 1, max_shrink_pct: 30, sample: 200 })
    .describe('What must be true before a new generation is made live.'),
  keep: z.int().min(0).max(10).default(1).describe('Previous generations that are kept, for undo.'),
  adopt: z
    .boolean()
    .default(false)
    .describe("A collection of our own making takes the place of a plain one that bears the alias's name."),
})
export type Mapping = z.infer<typeof mappingSchema>
export const collectionsSchema = z.record(aliasSchema, mappingSchema)
