import type { Writable } from 'node:stream'
import type { ArchivedTable, Column } from '@multiboard-sync/shared/manifest'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import type { Lane } from '../lanes/lanes.ts'

/*
 * Where the rows of a job come from: an archive in the store, or the source itself, whose rows pass into their archive and
 * into the target in one go.
 */

export interface FeedTable extends TableName {
  columns: Column[]
  /** Of COPY text; from a source an estimate, the table's bytes on its disk. */
  bytes: number
  /** How the rows are to be proven (readChecksum); absent: they are counted. */
  checksum?: NonNullable<ArchivedTable['checksum']>['algorithm']
}

/** What one COPY moves: a table, or a slice of one. */
export interface FeedPiece {
  table: FeedTable
  /** From 0 within its table. */
  n: number
  bytes: number
}

export interface PourOptions {
  /** Stops this piece alone; its reason is thrown. */
  signal: AbortSignal
  /** Increments of COPY text that has left for the sink. */
  onBytes: (bytes: number, rows: number) => void
}

export interface Feed {
  /** Id of the archive that the rows come from or go into. */
  readonly archive: string
  /** Those that the job wants. */
  readonly tables: FeedTable[]
  /** Of these tables, in no order; each table has at least one, also without rows. */
  readonly pieces: FeedPiece[]
  /**
   * Writes a piece's rows as COPY text into the sink, as fast as the slowest of all that they pass, and ends it only when
   * everything that is known of the piece was found right and, on the way into an archive, its part is stored: a COPY that
   * is fed from it can only be whole. A chunk's memory is the sink's until it calls back, and not longer (postgres/copy-in.ts
   * keeps to that). On failure the sink is destroyed with the reason. May be called again for the same piece after a failure,
   * never twice at once. Answers how many rows went.
   */
  pour(piece: FeedPiece, sink: Writable, lane: Lane, options: PourOptions): Promise<{ rows: number }>
  /**
   * After the last piece. On the way into an archive: waits for the source's checksums, and writes the manifest; only then
   * there is an archive. Answers the tables as the archive has them, in the order of `tables`.
   */
  finish(): Promise<ArchivedTable[]>
}
