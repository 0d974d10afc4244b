import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { ArchiveSummary, Manifest } from '@multiboard-sync/shared/manifest'

/** What may be told of an archive outside the agent: names and numbers. `missing` holds keys relative to the archive. */
export function summarise(manifest: Manifest, manifestSha256: string, missing: string[]): ArchiveSummary {
  return {
    id: manifest.id,
    kind: manifest.kind,
    source: manifest.source.database,
    job: manifest.job,
    created_at: manifest.created_at,
    server_version: manifest.source.server_version,
    tables: manifest.tables.map((table) => ({ name: formatTableName(table), rows: table.rows, bytes: table.bytes })),
    rows: manifest.totals.rows,
    bytes: manifest.totals.bytes,
    compressed_bytes: manifest.totals.compressed_bytes,
    manifest_sha256: manifestSha256,
    missing,
  }
}
