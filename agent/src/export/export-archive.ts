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
    opened.pieces.map(async (piece) => {
      const urgency = piece.bytes / COPIED_BYTES_PER_SECOND
      await lanes.run({ kind, name: formatTableName(piece.table), urgency }, async (lane) => await copy(piece, lane))
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
