import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { Feed, FeedPiece, FeedTable } from '../feed/feed.ts'
import type { Reporter } from '../report/reporter.ts'

export interface LoadProgress {
  /** For one attempt at a piece: what it calls for the bytes that have left. A later attempt counts only what is new. */
  attempt(piece: FeedPiece): (bytes: number, rows: number) => void
  /** A piece is in for good. True for the last one of its table. */
  ended(piece: FeedPiece, rows: number): boolean
}

/** Adds up what several copies load. Begins the phase. Of a table that is loaded whole it tells an event. */
export function countLoad(feed: Feed, reporter: Reporter): LoadProgress {
  const bytesTotal = feed.pieces.reduce((sum, piece) => sum + piece.bytes, 0)
  const tablesTotal = feed.tables.length
  const left = Map.groupBy(feed.pieces, ({ table }) => formatTableName(table))
  const moved = new Map<FeedPiece, { bytes: number; rows: number }>()
  const loaded = new Map<string, { rows: number; bytes: number }>()
  let [tablesDone, rows, bytes] = [0, 0, 0]
  reporter.phase('loading')
  const tell = (table: string | undefined): void =>
    reporter.progress({ table, tablesDone, tablesTotal, rows, bytes, bytesTotal })
  return {
    attempt(piece) {
      const most = moved.get(piece) ?? { bytes: 0, rows: 0 }
      moved.set(piece, most)
      const now = { bytes: 0, rows: 0 }
      return (moreBytes, moreRows) => {
        now.bytes += moreBytes
        now.rows += moreRows
        bytes += Math.max(0, now.bytes - most.bytes)
        rows += Math.max(0, now.rows - most.rows)
        most.bytes = Math.max(most.bytes, now.bytes)
        most.rows = Math.max(most.rows, now.rows)
        tell(formatTableName(piece.table))
      }
    },
    ended(piece, pieceRows) {
      const table = formatTableName(piece.table)
      const of = loaded.get(table) ?? { rows: 0, bytes: 0 }
      loaded.set(table, of)
      of.rows += pieceRows
      of.bytes += moved.get(piece)?.bytes ?? 0
      const rest = (left.get(table) ?? []).filter((one) => one !== piece)
      left.set(table, rest)
      if (rest.length > 0) return false
      tablesDone += 1
      tell(undefined)
      reporter.event('table.loaded', { table, rows: of.rows, bytes: of.bytes })
      return true
    },
  }
}

/** A table's pieces one after the other, the biggest table first. */
export function inTables(feed: Feed): [FeedTable, FeedPiece[]][] {
  const pieces = Map.groupBy(feed.pieces, ({ table }) => formatTableName(table))
  return feed.tables
    .map((table): [FeedTable, FeedPiece[]] => [table, pieces.get(formatTableName(table)) ?? []])
    .toSorted(([a], [b]) => b.bytes - a.bytes)
}
