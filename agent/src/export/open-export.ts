import type { Writable } from 'node:stream'
import {
  CHECKSUM_ALGORITHM,
  type ArchivedTable,
  type ArchiveSummary,
  type Manifest,
  type Part,
} from '@multiboard-sync/shared/manifest'
import { retry } from '@multiboard-sync/shared/retry'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { ArchiveWriter } from '../archive/archive-writer.ts'
import { POST_DATA, PRE_DATA, SEQUENCES } from '../archive/object-names.ts'
import type { FeedPiece, FeedTable, PourOptions } from '../feed/feed.ts'
import { allOf, type Door, type Lane, type Lanes } from '../lanes/lanes.ts'
import type { TableInfo } from '../postgres/catalog.ts'
import { readChecksum } from '../postgres/checksum.ts'
import { schemaSha256, type SchemaText } from '../postgres/dump-source.ts'
import type { Source } from '../postgres/open-source.ts'
import { readCutting, splitTable, type Slice } from '../postgres/split-table.ts'
import type { Reporter } from '../report/reporter.ts'
import { copyPiece } from './copy-piece.ts'

/*
 * Export: the rows of a source on their way into an archive, piece by piece, under one snapshot.
 *
 * Promises: a piece is stored whole or not at all, may be copied again after a failure (its object is written anew), and
 * may flow into a sink as well; checksums are taken beside, by slices too, as work that nobody waits for but the end;
 * without the manifest there is no archive, and it is written only when every row was copied and summed, and the source's
 * snapshot and locks were held until then.
 * Never: writes to the source, holds more than a few buffers of rows for each lane.
 */

export interface Export {
  source: Source
  schema: SchemaText
  tables: TableInfo[]
  /** The patterns that were asked for; undefined when every table is in. */
  patterns: string[] | undefined
}

export interface ExportOptions {
  lanes: Lanes
  reporter: Reporter
  /** Whether each table's checksum is taken under the snapshot. */
  checksums: boolean
}

export interface OpenExport {
  /** In the order given. */
  readonly tables: FeedTable[]
  readonly pieces: FeedPiece[]
  /**
   * Once. After a failure the lane's session is gone and the piece may be copied again. Throws what the source and the
   * store throw as SyncErrors, and the sink's own error unchanged.
   */
  copy(piece: FeedPiece, lane: Lane, options: PourOptions, sink?: Writable): Promise<{ rows: number }>
  /** After the last piece: waits for the checksums and writes the manifest. */
  finish(): Promise<{ manifest: Manifest; summary: ArchiveSummary }>
}

/** A broken connection to the source or the store costs a piece, not the job; after half a minute it is no passing trouble. */
export const PIECE_RETRY = { attempts: 5, firstDelayMs: 500, maxDelayMs: 8000 }
/** What one core sums of a table's bytes in a second, roughly: only the order among tasks follows from it. */
const SUMMED_BYTES_PER_SECOND = 80_000_000

interface Summed {
  rows: number
  value: bigint
}

interface Cut {
  table: TableInfo
  feed: FeedTable
  slices: Slice[]
  /** By the slices' numbers. */
  parts: (Part | undefined)[]
  sums: Promise<Summed>[]
}

/** Stores the SQL texts and begins the checksums. Not to be called inside of a lane's work. */
export async function openExport(asked: Export, archive: ArchiveWriter, options: ExportOptions): Promise<OpenExport> {
  const { source, schema } = asked
  const { lanes, reporter } = options
  const door: Door = {
    database: source.database.name,
    open: async (signal) => await source.openReader('export', signal),
  }
  const cutting = await readCutting(source.holder, asked.tables)
  const cuts = asked.tables.map((table): Cut => {
    const { columns, name, tableBytes: bytes } = table
    const proof = options.checksums ? ({ checksum: CHECKSUM_ALGORITHM } as const) : {}
    const feed: FeedTable = { schema: table.schema, name, columns, bytes, ...proof }
    return { table, feed, slices: splitTable(table, lanes.count, cutting), parts: [], sums: [] }
  })
  await allOf([
    archive.putSql(PRE_DATA, schema.preData, lanes.signal),
    archive.putSql(SEQUENCES, schema.sequences, lanes.signal),
    archive.putSql(POST_DATA, schema.postData, lanes.signal),
  ])
  const cutOf = new Map(cuts.map((cut) => [cut.feed, cut]))
  if (options.checksums) {
    for (const cut of cuts) {
      cut.sums = cut.slices.map(async (slice) => await sum(cut, slice))
      // finish() asks for them; until then the lanes tell everybody else.
      for (const one of cut.sums) one.catch(() => undefined)
    }
  }

  async function sum({ table }: Cut, slice: Slice): Promise<Summed> {
    const task = {
      kind: 'checksum',
      name: formatTableName(table),
      urgency: slice.bytes / SUMMED_BYTES_PER_SECOND,
    } as const
    return await lanes.run(task, async (lane) => {
      return await retry({ signal: lanes.signal, ...PIECE_RETRY }, async () => {
        try {
          const session = await lane.session(door)
          const { rows, value } = await readChecksum(session, table, table.columns, slice.where)
          return { rows, value: BigInt(value) }
        } catch (error) {
          lane.drop(door)
          throw error
        }
      })
    })
  }
  return {
    tables: cuts.map(({ feed }) => feed),
    pieces: cuts.flatMap(({ feed, slices }) => slices.map(({ n, bytes }) => ({ table: feed, n, bytes }))),

    async copy(piece, lane, pour, sink) {
      const cut = cutOf.get(piece.table)
      const slice = cut?.slices[piece.n]
      if (!cut || !slice) throw new Error('a piece of another export')
      try {
        const part = await copyPiece(
          async () => await lane.session(door),
          { table: cut.table, slice },
          archive,
          pour,
          sink,
        )
        const isFirst = cut.parts[piece.n] === undefined
        cut.parts[piece.n] = part
        const parts = cut.parts.flatMap((one) => one ?? [])
        if (isFirst && parts.length === cut.slices.length) {
          reporter.event('table.exported', { table: formatTableName(cut.table), ...total(parts) })
        }
        return { rows: part.rows }
      } catch (error) {
        // Of no use after a COPY that was stopped.
        lane.drop(door)
        throw error
      }
    },

    async finish() {
      const sums = await allOf(cuts.map(async (cut) => await allOf(cut.sums)))
      const tables = cuts.map((cut, index) => archivedTable(cut, sums[index] ?? []))
      await source.stand()
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
        lanes.signal,
      )
      const { id, kind, rows, bytes, compressed_bytes } = written.summary
      reporter.event('archive.written', { archive: id, kind, tables: tables.length, rows, bytes, compressed_bytes })
      return written
    },
  }
}

function archivedTable({ table, slices, parts: found }: Cut, sums: Summed[]): ArchivedTable {
  const parts = found.flatMap((one) => one ?? [])
  if (parts.length !== slices.length) throw new Error('an export is finished after its last piece')
  for (const [n, { rows }] of sums.entries()) {
    if (rows !== parts[n]?.rows) throw uneven(formatTableName(table), parts[n]?.rows ?? 0, rows)
  }
  const value = sums.reduce((all, one) => all + one.value, 0n).toString()
  return {
    schema: table.schema,
    name: table.name,
    columns: table.columns,
    ...total(parts),
    ...(sums.length > 0 ? { checksum: { algorithm: CHECKSUM_ALGORITHM, value } } : {}),
    parts,
  }
}

function total(parts: Part[]): { rows: number; bytes: number } {
  return {
    rows: parts.reduce((sum, part) => sum + part.rows, 0),
    bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
  }
}

function uneven(name: string, copied: number, summed: number): SyncError {
  return new SyncError('proof-failed', `${name}: of a slice ${copied} rows were archived and ${summed} were summed.`, {
    hint: 'Report this as a bug. Nothing was changed.',
  })
}
