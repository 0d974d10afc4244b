import { pipeline } from 'node:stream/promises'
import { PassThrough } from 'node:stream'
import { CHECKSUM_ALGORITHM, type ArchivedTable } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import copyStreams from 'pg-copy-streams'
import type { ArchiveWriter } from '../archive/archive-writer.ts'
import { copyColumns, type TableInfo } from '../postgres/catalog.ts'
import { readChecksum } from '../postgres/checksum.ts'
import { fromPgError } from '../postgres/pg-error.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'
import type { Source } from '../postgres/open-source.ts'

export interface ExportOptions {
  reporter: Reporter
  signal: AbortSignal
  /** Readers at once, each with a connection of its own. */
  connections: number
  /** Whether each table's checksum is taken under the snapshot. */
  checksums: boolean
}

/**
 * Streams tables out into an archive, the biggest first, several at once, all under the source's snapshot. Memory is
 * bounded by the buffers of `connections` streams. The first failure stops the others. Returns the tables in the order given.
 */
export async function exportTables(
  source: Source,
  tables: TableInfo[],
  archive: ArchiveWriter,
  options: ExportOptions,
): Promise<ArchivedTable[]> {
  const progress = countProgress(tables, options.reporter)
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const queue = [...tables].sort((a, b) => b.tableBytes - a.tableBytes)
  const done = new Map<number, ArchivedTable>()
  const work = async (): Promise<void> => {
    const first = queue.shift()
    if (!first) return
    const session = await source.openReader('export')
    try {
      for (let table: TableInfo | undefined = first; table; table = queue.shift()) {
        signal.throwIfAborted()
        const archived = await exportTable(session, table, archive, { ...options, signal }, progress)
        done.set(table.oid, archived)
      }
      await session.close()
    } catch (error) {
      // A stopped COPY TO leaves its connection unusable until it is cut.
      session.destroy()
      stop.abort(error)
      throw error
    }
  }
  const workers = Array.from({ length: Math.min(options.connections, tables.length) }, work)
  const failed = (await Promise.allSettled(workers)).find((result) => result.status === 'rejected')
  if (failed) throw stop.signal.aborted ? stop.signal.reason : failed.reason
  return tables.flatMap((table) => done.get(table.oid) ?? [])
}

async function exportTable(
  session: Session,
  table: TableInfo,
  archive: ArchiveWriter,
  options: ExportOptions,
  progress: ProgressCount,
): Promise<ArchivedTable> {
  const name = formatTableName(table)
  const { schema, columns } = table
  const copy = session.client.query(copyStreams.to(`copy ${quoteTable(table)} ${copyColumns(columns)} to stdout`))
  // The pass-through ends the archive's side when the copy breaks, with the copy's error.
  const rows = new PassThrough({ highWaterMark: 256 * 1024 })
  const copied = pipeline(copy, rows, { signal: options.signal })
  const stored = archive.putPart({ schema, name: table.name }, 0, rows, {
    columns,
    expectedBytes: table.tableBytes,
    signal: options.signal,
    onBytes: (bytes, count) => progress.moved(name, bytes, count),
  })
  const [, part] = await bothOrFirstError(copied, stored, name)
  if (copy.rowCount !== part.rows) {
    throw new SyncError(
      'proof-failed',
      `${name}: the server sent ${copy.rowCount} rows and ${part.rows} were archived.`,
      {
        hint: 'Report this as a bug. Nothing was changed.',
      },
    )
  }
  progress.ended()
  const checksum = options.checksums ? await readChecksum(session, table, columns) : undefined
  options.reporter.event('table.exported', { table: name, rows: part.rows, bytes: part.bytes })
  return {
    schema,
    name: table.name,
    columns,
    rows: part.rows,
    bytes: part.bytes,
    ...(checksum ? { checksum: { algorithm: CHECKSUM_ALGORITHM, value: checksum.value } } : {}),
    parts: [part],
  }
}

/** Waits for both ends of one copy; of two errors, the cause is the first, and the other its echo. */
async function bothOrFirstError<A, B>(copied: Promise<A>, stored: Promise<B>, name: string): Promise<[A, B]> {
  let first: unknown
  const note = (error: unknown): never => {
    first ??= error
    throw error
  }
  const [a, b] = await Promise.allSettled([copied.catch(note), stored.catch(note)])
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value]
  throw first instanceof SyncError ? first : fromPgError(first, `copying ${name}`)
}

interface ProgressCount {
  moved(table: string, bytes: number, rows: number): void
  ended(): void
}

/** Adds up what several copies move. */
function countProgress(tables: TableInfo[], reporter: Reporter): ProgressCount {
  const tablesTotal = tables.length
  const bytesTotal = tables.reduce((sum, one) => sum + one.tableBytes, 0)
  let [tablesDone, bytes, rows] = [0, 0, 0]
  return {
    moved(table, moreBytes, moreRows) {
      bytes += moreBytes
      rows += moreRows
      reporter.progress({ table, tablesDone, tablesTotal, rows, bytes, bytesTotal })
    },
    ended() {
      tablesDone += 1
      reporter.progress({ table: undefined, tablesDone, tablesTotal, rows, bytes, bytesTotal })
    },
  }
}
