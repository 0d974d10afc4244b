import { z } from 'zod'
import { agentIdSchema, archiveIdSchema, databaseNameSchema } from './job.ts'
import { sha256Schema } from './order.ts'

/** manifest.json of an archive, format 1 (docs/ARCHIVE-FORMAT.md). Strict: an archive we do not fully understand is not restored. */

const bytesSchema = z.int().nonnegative()
const rowsSchema = z.int().nonnegative()

export const columnSchema = z.strictObject({
  name: z.string(),
  /** As format_type() prints it with an empty search_path: `character varying(20)`, `public."Status"`. */
  type: z.string(),
  not_null: z.boolean(),
  has_default: z.boolean(),
  /** '' for an ordinary column; 's' stored, 'v' virtual (pg_attribute.attgenerated). Not in the rows. */
  generated: z.enum(['', 's', 'v']),
  /** '' | 'a' always | 'd' by default (pg_attribute.attidentity). */
  identity: z.enum(['', 'a', 'd']),
})
export type Column = z.infer<typeof columnSchema>

const partSchema = z.strictObject({
  /** Relative to the archive's folder. */
  key: z.string(),
  rows: rowsSchema,
  /** Uncompressed bytes of the SQL text before the first row; the rest is rows and the closing line. */
  header_bytes: bytesSchema,
  /** Uncompressed bytes of the rows alone. */
  bytes: bytesSchema,
  compressed_bytes: bytesSchema,
  /** Of the stored (compressed) object. */
  sha256: sha256Schema,
})
export type Part = z.infer<typeof partSchema>

/** The second is what is written; the first is in older archives. */
const checksumAlgorithmSchema = z.enum(['chain-hashtextextended-1', 'chain-typed-2'])
export type ChecksumAlgorithm = z.infer<typeof checksumAlgorithmSchema>
export const CHECKSUM_ALGORITHM = 'chain-typed-2' satisfies ChecksumAlgorithm

const checksumSchema = z.strictObject({
  /** Names the expression (docs/ARCHIVE-FORMAT.md): order-independent, equal on PostgreSQL 13 to 18. */
  algorithm: checksumAlgorithmSchema,
  /** A decimal number as text. */
  value: z.string().regex(/^-?\d+$/),
})

const tableSchema = z.strictObject({
  schema: z.string(),
  name: z.string(),
  columns: z.array(columnSchema),
  rows: rowsSchema,
  bytes: bytesSchema,
  checksum: checksumSchema.optional(),
  parts: z.array(partSchema).min(1),
})
export type ArchivedTable = z.infer<typeof tableSchema>

const objectSchema = z.strictObject({
  key: z.string(),
  bytes: bytesSchema,
  compressed_bytes: bytesSchema,
  sha256: sha256Schema,
})
export type ArchivedObject = z.infer<typeof objectSchema>

export const archiveKindSchema = z.enum(['export', 'safety-backup'])
export type ArchiveKind = z.infer<typeof archiveKindSchema>

export const manifestSchema = z.strictObject({
  format: z.literal(1),
  id: archiveIdSchema,
  kind: archiveKindSchema,
  created_at: z.iso.datetime(),
  agent: agentIdSchema,
  job: z.string(),
  source: z.strictObject({
    database: databaseNameSchema,
    /** server_version_num: 180004. */
    server_version: z.int(),
    encoding: z.string(),
    system_identifier: z.string(),
    database_oid: z.int(),
  }),
  /** SHA-256 of the three uncompressed SQL texts, one after the other. */
  schema_sha256: sha256Schema,
  filters: z.strictObject({
    /** Patterns asked for; absent when the archive holds all tables. */
    tables: z.array(z.string()).optional(),
  }),
  tables: z.array(tableSchema),
  /** 000-pre-data.sql, 800-sequences.sql, 900-post-data.sql, each with its codec's extension, and RESTORE.txt. */
  objects: z.array(objectSchema),
  totals: z.strictObject({ tables: z.int(), rows: rowsSchema, bytes: bytesSchema, compressed_bytes: bytesSchema }),
  tool: z.strictObject({ name: z.literal('multiboard-sync'), version: z.string() }),
})
export type Manifest = z.infer<typeof manifestSchema>

/** What the control plane is told of an archive: names and numbers. */
export const archiveSummarySchema = z
  .object({
    id: archiveIdSchema,
    kind: archiveKindSchema,
    source: databaseNameSchema,
    job: z.string(),
    created_at: z.iso.datetime(),
    server_version: z.int(),
    tables: z.array(z.object({ name: z.string(), rows: rowsSchema, bytes: bytesSchema })),
    rows: rowsSchema,
    bytes: bytesSchema,
    compressed_bytes: bytesSchema,
    manifest_sha256: sha256Schema,
    /** Objects that the manifest names and the bucket lacks. */
    missing: z.array(z.string()).default([]),
  })
  .meta({ id: 'ArchiveSummary' })
export type ArchiveSummary = z.infer<typeof archiveSummarySchema>
