import { PassThrough, type Duplex, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Part } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { ArchiveWriter } from '../archive/archive-writer.ts'
import type { PourOptions } from '../feed/feed.ts'
import { copyColumns, storedColumns, type TableInfo } from '../postgres/catalog.ts'
import { copyOut } from '../postgres/copy-out.ts'
import { fromPgError } from '../postgres/pg-error.ts'
import { quoteIdent, quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Slice } from '../postgres/split-table.ts'
import { TEE_BYTES, teeInto } from './tee.ts'

export interface PieceOfTable {
  table: TableInfo
  slice: Slice
}

/**
 * One COPY out of the source into the archive's part and, where there is one, into a sink: in bounded memory, as fast as
 * the slowest of them. The sink is ended only when the part is stored and the server has counted the same rows. Of several
 * failures the first is thrown, the sink's own unchanged, and all others are stopped by it; the session is of no use then.
 */
export async function copyPiece(
  open: () => Promise<Session>,
  { table, slice }: PieceOfTable,
  archive: ArchiveWriter,
  { signal, onBytes }: PourOptions,
  sink?: Writable,
): Promise<Part> {
  const name = formatTableName(table)
  const branch = sink ? new PassThrough({ highWaterMark: TEE_BYTES }) : undefined
  // The stream between ends the archive's side when the copy breaks, with the copy's error.
  const rows = branch ? teeInto(branch) : new PassThrough({ highWaterMark: TEE_BYTES })
  // It may be stopped before a pipeline listens to it; its errors are told by who caused them.
  rows.on('error', () => undefined)
  const errors: unknown[] = []
  const stopAll = (error: unknown): void => {
    errors.push(error)
    const cause = error instanceof Error ? error : undefined
    rows.destroy(cause)
    branch?.destroy(cause)
  }
  // Before the first wait: a sink may fail at any time.
  const poured = branch && sink ? pipeline(branch, sink, { signal }).catch(stopAll) : undefined
  const part = await copyInto(rows).catch(stopAll)
  if (part && errors.length === 0) branch?.end()
  await poured
  signal.throwIfAborted()
  if (part && errors.length === 0) return part
  throw errors.find((error) => !isEcho(error)) ?? errors[0]

  async function copyInto(way: Duplex): Promise<Part | undefined> {
    const session = await open()
    // The sink may have failed meanwhile.
    if (errors.length > 0) return undefined
    signal.throwIfAborted()
    const copy = copyOut(session.client, copySql(table, slice))
    // A connection that is cut afterwards tells it again.
    copy.on('error', () => undefined)
    const copied = pipeline(copy, way, { signal }).catch((error: unknown) => {
      stopAll(isEcho(error) ? error : fromPgError(error, `copying ${name}`))
    })
    const { columns } = table
    const stored = archive
      .putPart(table, slice.n, way, { columns, expectedBytes: slice.bytes, signal, onBytes })
      .catch(stopAll)
    const [, done] = await Promise.all([copied, stored])
    if (done && errors.length === 0 && copy.rowCount !== done.rows) throw miscounted(name, copy.rowCount, done.rows)
    return done ?? undefined
  }
}

/** A whole table by its name: the server then skips the executor. The list names no generated column; `only`: its own rows. */
function copySql(table: TableInfo, { where }: Slice): string {
  if (where === undefined) return `copy ${quoteTable(table)} ${copyColumns(table.columns)} to stdout`
  const names = storedColumns(table.columns).map((column) => quoteIdent(column.name))
  return `copy (select ${names.join(', ')} from only ${quoteTable(table)} where ${where}) to stdout`
}

/** What a stream says when another one was the cause. */
function isEcho(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const code = 'code' in error ? error.code : undefined
  return code === 'ABORT_ERR' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ERR_STREAM_DESTROYED'
}

function miscounted(name: string, sent: number, archived: number): SyncError {
  return new SyncError('proof-failed', `${name}: the server sent ${sent} rows and ${archived} were archived.`, {
    hint: 'Report this as a bug. Nothing was changed.',
  })
}
