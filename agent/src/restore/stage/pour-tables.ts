import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Feed, FeedTable } from '../../feed/feed.ts'
import { allOf, type Lanes } from '../../lanes/lanes.ts'
import { copyColumns } from '../../postgres/catalog.ts'
import { quoteTable } from '../../postgres/quote.ts'
import { copyPiece } from '../copy-piece.ts'
import { countLoad, inTables } from '../load-progress.ts'
import { SMALL_BYTES } from './estimate.ts'
import { once, type StageWork } from './once.ts'

export interface PourRun {
  lanes: Lanes
  stage: StageWork
  /** Where a table of the feed stands. */
  place: (table: TableName) => TableName
  /** Expected seconds from a piece's begin until nothing waits for its table any more. */
  urgencyOf: (table: FeedTable) => number
  /** Called when all rows are in. */
  onLoaded: () => Promise<void>
}

export interface Poured {
  /** By name: resolves when the table's last piece is in. */
  tables: Map<string, Promise<void>>
  /** When all are in: what the feed says that they are. */
  finished: Promise<ArchivedTable[]>
}

/**
 * Begins to stream a feed's pieces into tables that nobody else can see yet, as many at once as there are lanes, each
 * exactly once. All promises fail with the lanes. Throws as copyPiece().
 */
export function pourTables(feed: Feed, { lanes, stage, place, urgencyOf, onLoaded }: PourRun): Poured {
  const progress = countLoad(feed, stage.reporter)
  const { signal } = lanes
  const tables = new Map(
    inTables(feed).map(([table, pieces]) => {
      const name = formatTableName(table)
      const stands = quoteTable(place(table))
      // FREEZE is for a table that its own transaction has emptied: no reader has to look after its rows' transaction, and
      // no vacuum has to write them again. For a few rows it is not worth the new files.
      const isFrozen = pieces.length === 1 && table.bytes > SMALL_BYTES
      const into = `${stands} ${copyColumns(table.columns)} from stdin${isFrozen ? ' with (freeze)' : ''}`
      const task = { kind: 'copy', name, urgency: urgencyOf(table) } as const
      const poured = pieces.map(async (piece) => {
        await lanes.run(task, async (lane) => {
          const rows = await once(lane, stage, name, async (session) => {
            const options = { signal, onBytes: progress.attempt(piece) }
            if (isFrozen) await session.run(`truncate only ${stands}`)
            return await copyPiece(session, feed, { piece, into }, lane, options)
          })
          progress.ended(piece, rows)
        })
      })
      return [name, allOf(poured).then(() => undefined)] as const
    }),
  )
  const finish = async (): Promise<ArchivedTable[]> => {
    await allOf(tables.values())
    stage.reporter.phase('building')
    await onLoaded()
    return await feed.finish()
  }
  return { tables, finished: lanes.watch(finish()) }
}
