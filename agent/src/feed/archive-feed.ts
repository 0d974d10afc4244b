import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ArchivedTable, Part } from '@multiboard-sync/shared/manifest'
import type { OpenedArchive } from '../archive/archive-reader.ts'
import type { Feed, FeedPiece, FeedTable } from './feed.ts'

/**
 * The rows of an archive's tables, part by part. A pour throws `archive-damaged` where a part is not what the manifest says,
 * the store's errors as SyncErrors, and the sink's own error unchanged.
 */
export function archiveFeed(archive: OpenedArchive, tables: ArchivedTable[]): Feed {
  const stored = new Map<FeedPiece, { table: ArchivedTable; part: Part }>()
  const feedTables = tables.map((table): FeedTable => {
    const { schema, name, columns, bytes, checksum } = table
    const feedTable = { schema, name, columns, bytes, ...(checksum ? { checksum: checksum.algorithm } : {}) }
    for (const [n, part] of table.parts.entries()) {
      stored.set({ table: feedTable, n, bytes: part.bytes }, { table, part })
    }
    return feedTable
  })
  return {
    archive: archive.manifest.id,
    tables: feedTables,
    pieces: [...stored.keys()],
    async pour(piece, sink, _lane, { signal, onBytes }) {
      const found = stored.get(piece)
      if (!found) throw new Error('a piece of another feed')
      const stop = new AbortController()
      // A sink may fail while the part is asked for; what it says to being destroyed is nothing new.
      let early: unknown
      const onError = (error: unknown): void => {
        early ??= error
        stop.abort(error)
      }
      sink.on('error', onError)
      let rows: Readable | undefined
      try {
        rows = await archive.readRows(found.table, found.part, AbortSignal.any([signal, stop.signal]), onBytes)
        sink.on('error', () => undefined).off('error', onError)
        await pipeline(rows, sink, { signal })
        return { rows: found.part.rows }
      } catch (error) {
        if (!rows) sink.on('error', () => undefined).destroy(error instanceof Error ? error : undefined)
        signal.throwIfAborted()
        throw early ?? error
      }
    },
    finish: async () => tables,
  }
}
