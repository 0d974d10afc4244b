import type { ArchiveSummary, Manifest } from '@multiboard-sync/shared/manifest'
import { retry } from '@multiboard-sync/shared/retry'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { ArchiveWriter } from '../archive/archive-writer.ts'
import type { FeedPiece } from '../feed/feed.ts'
import { allOf, type Lane } from '../lanes/lanes.ts'
import type { WorkKind } from '../lanes/trace.ts'
import type { Reporter } from '../report/reporter.ts'
import { openExport, PIECE_RETRY, type Export, type ExportOptions, type OpenExport } from './open-export.ts'

/** What one core copies and packs of a table's bytes in a second, roughly: only the order among tasks follows from it. */
const COPIED_BYTES_PER_SECOND = 60_000_000

/** When the last piece is stored the manifest follows, before which nothing live is changed. */
const MANIFEST_SECONDS = 1
/** A small object on its way into the store. */
const STORED_SECONDS = 0.1
/** Of a safety backup: a lane that fills the target needs another connection for it, and opens its own again afterwards. */
const SMALL_PIECES = 25
const SMALL_BYTES = 256 * 1024

/** Big pieces each alone, so many small ones together. */
function inTasks(pieces: FeedPiece[], most: number): FeedPiece[][] {
  const isSmall = ({ bytes }: FeedPiece): boolean => bytes <= SMALL_BYTES
  const small = pieces.filter(isSmall)
  return [
    ...pieces.filter((piece) => !isSmall(piece)).map((piece) => [piece]),
    ...Array.from({ length: Math.ceil(small.length / most) }, (_, n) => small.slice(n * most, (n + 1) * most)),
  ]
}

/**
 * Writes a whole archive: schema texts, every table, several pieces at once and the biggest first, and the signed manifest
 * last. Without the manifest there is no archive, so a failure leaves only objects that nobody takes for one. A piece whose
 * connection to the source or the store broke is copied again.
 */
export async function exportArchive(
  asked: Export,
  archive: ArchiveWriter,
  options: ExportOptions,
): Promise<{ manifest: Manifest; summary: ArchiveSummary }> {
  const { lanes, reporter } = options
  const kind: WorkKind = archive.kind === 'export' ? 'copy' : 'backup'
  const opened = await openExport(asked, archive, options)
  const progress = countProgress(opened, reporter)

  async function copy(piece: FeedPiece, lane: Lane): Promise<void> {
    await retry({ signal: lanes.signal, ...PIECE_RETRY }, async () => {
      let [bytes, rows] = [0, 0]
      const onBytes = (moreBytes: number, moreRows: number): void => {
        bytes += moreBytes
        rows += moreRows
        progress.moved(piece, moreBytes, moreRows)
      }
      try {
        await opened.copy(piece, lane, { signal: lanes.signal, onBytes })
      } catch (error) {
        progress.moved(piece, -bytes, -rows)
        throw error
      }
    })
    progress.ended(piece)
  }

  await allOf(
    inTasks(opened.pieces, kind === 'backup' ? SMALL_PIECES : 1).map(async (pieces) => {
      const name = pieces.length > 1 ? 'small tables' : pieces.map(({ table }) => formatTableName(table)).join()
      const bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0)
      const urgency = bytes / COPIED_BYTES_PER_SECOND + pieces.length * STORED_SECONDS + MANIFEST_SECONDS
      await lanes.run({ kind, name, urgency }, async (lane) => {
        for (const piece of pieces) await copy(piece, lane)
      })
    }),
  )
  return await opened.finish()
}

/** Adds up what several copies move. */
function countProgress({ tables, pieces }: OpenExport, reporter: Reporter) {
  const left = new Map(tables.map((table) => [table, pieces.filter((piece) => piece.table === table).length]))
  const tablesTotal = tables.length
  const bytesTotal = tables.reduce((sum, one) => sum + one.bytes, 0)
  let [tablesDone, bytes, rows] = [0, 0, 0]
  return {
    moved(piece: FeedPiece, moreBytes: number, moreRows: number): void {
      bytes += moreBytes
      rows += moreRows
      const table = formatTableName(piece.table)
      reporter.progress({ table, tablesDone, tablesTotal, rows, bytes, bytesTotal })
    },
    ended({ table }: FeedPiece): void {
      const piecesLeft = (left.get(table) ?? 1) - 1
      left.set(table, piecesLeft)
      if (piecesLeft > 0) return
      tablesDone += 1
      reporter.progress({ table: undefined, tablesDone, tablesTotal, rows, bytes, bytesTotal })
    },
  }
}
