import type { ArchiveSummary, Manifest } from '@multiboard-sync/shared/manifest'
import { POST_DATA, PRE_DATA, SEQUENCES } from '../archive/object-names.ts'
import type { ArchiveWriter } from '../archive/archive-writer.ts'
import type { TableInfo } from '../postgres/catalog.ts'
import { schemaSha256, type SchemaText } from '../postgres/dump-source.ts'
import { exportTables, type ExportOptions } from './export-tables.ts'
import type { Source } from '../postgres/open-source.ts'

export interface Export {
  source: Source
  schema: SchemaText
  tables: TableInfo[]
  /** The patterns that were asked for; undefined when every table is in. */
  patterns: string[] | undefined
}

/**
 * Writes a whole archive: schema texts, every table, and the signed manifest last. Without the manifest there is no
 * archive, so a failure leaves only objects that nobody takes for one.
 */
export async function exportArchive(
  asked: Export,
  archive: ArchiveWriter,
  options: ExportOptions,
): Promise<{ manifest: Manifest; summary: ArchiveSummary }> {
  const { source, schema } = asked
  await archive.putSql(PRE_DATA, schema.preData, options.signal)
  await archive.putSql(SEQUENCES, schema.sequences, options.signal)
  await archive.putSql(POST_DATA, schema.postData, options.signal)
  const tables = await exportTables(source, asked.tables, archive, options)
  const { identity } = source
  const written = await archive.finish(
    {
      source: {
        database: source.database.name,
        server_version: identity.serverVersion,
        encoding: identity.encoding,
        system_identifier: identity.systemIdentifier,
        database_oid: identity.databaseOid,
      },
      schema_sha256: schemaSha256(schema),
      filters: asked.patterns ? { tables: asked.patterns } : {},
      tables,
    },
    options.signal,
  )
  options.reporter.event('archive.written', {
    archive: written.summary.id,
    kind: written.summary.kind,
    tables: tables.length,
    rows: written.summary.rows,
    bytes: written.summary.bytes,
    compressed_bytes: written.summary.compressed_bytes,
  })
  return written
}
