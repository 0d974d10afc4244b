import type { ArchivedTable, Column, Manifest } from '@multiboard-sync/shared/manifest'
import type { OpenedArchive } from '../archive/archive-reader.ts'
import { POST_DATA, PRE_DATA, SEQUENCES } from '../archive/object-names.ts'
import type { Session } from '../postgres/session.ts'
import type { ExportPlan } from './plan.ts'
import type { AskedSource } from './read-source.ts'

/** What is to be loaded, wherever it comes from: a source at this moment, or an archive. */
export interface Origin {
  /** The name of the database the rows are from. */
  database: string
  identity: { systemIdentifier: string; databaseOid: number; serverVersion: number }
  tables: OriginTable[]
  schema: { preData: string; sequences: string; postData: string }
  /** True when the database had more tables than these. */
  isPartial: boolean
  /** Of a source that is open now: it can be asked more. */
  live?: { session: Session; isInRecovery: boolean }
}

interface OriginTable {
  schema: string
  name: string
  columns: Column[]
  /** Exact for an archive, the planner's estimate for a source. */
  rows: number
  /** Of COPY text for an archive; of the heap for a source. */
  bytes: number
}

/** An archive as an origin. `chosen` are the tables of the job; the schema texts are read and verified here. */
export async function originOfArchive(archive: OpenedArchive, chosen: ArchivedTable[]): Promise<Origin> {
  const { manifest } = archive
  return {
    database: manifest.source.database,
    identity: identityOf(manifest),
    tables: chosen,
    schema: {
      preData: await archive.readSql(PRE_DATA),
      sequences: await archive.readSql(SEQUENCES),
      postData: await archive.readSql(POST_DATA),
    },
    isPartial: manifest.filters.tables !== undefined || chosen.length < manifest.tables.length,
  }
}

function identityOf(manifest: Manifest): Origin['identity'] {
  const { system_identifier, database_oid, server_version } = manifest.source
  return { systemIdentifier: system_identifier, databaseOid: database_oid, serverVersion: server_version }
}

/** What an export of this source would store. */
export function exportPlanOf(asked: AskedSource): ExportPlan {
  const { database, tables, isPartial } = originOfSource(asked)
  return {
    kind: 'export',
    source: database,
    tables: tables.map(({ schema, name, rows, bytes }) => ({ schema, name, rows, bytes })),
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    bytes: tables.reduce((sum, table) => sum + table.bytes, 0),
    whole: !isPartial,
  }
}

/** A source as an origin; rows and bytes are estimates. */
export function originOfSource(asked: AskedSource): Origin {
  const { source, tables, schema, patterns } = asked
  return {
    database: source.database.name,
    identity: source.identity,
    tables: tables.map((table) => ({
      schema: table.schema,
      name: table.name,
      columns: table.columns,
      rows: Math.round(table.estimatedRows),
      bytes: table.tableBytes,
    })),
    schema,
    isPartial: patterns !== undefined,
    live: { session: source.holder, isInRecovery: source.identity.isInRecovery },
  }
}
