import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Part } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { ArchiveWriter } from '../archive/archive-writer.ts'
import type { PourOptions } from '../feed/feed.ts'
import { copyColumns, storedColumns, type TableInfo } from '../postgres/catalog.ts'
import { copyOut, type CopyOut } from '../postgres/copy-out.ts'
import { fromPgError } from '../postgres/pg-error.ts'
import { quoteIdent, quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Slice } from '../postgres/split-table.ts'
import { teeInto } from './tee.ts'

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
  let copy: CopyOut | undefined
  const errors: unknown[] = []
  const stopAll = (error: unknown): void => {
    errors.push(error)
    const cause = error instanceof Error ? error : undefined
    copy?.destroy(cause)
    sink?.destroy(cause)
  }
  const onAbort = (): void => stopAll(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    // Before the first wait: a sink may fail at any time.
    const poured = sink && finished(sink, { readable: false }).catch(stopAll)
    const part = await store().catch(stopAll)
    if (part && errors.length === 0) sink?.end()
    await poured
    signal.throwIfAborted()
    if (part && errors.length === 0) return part
    throw errors.find((error) => !isEcho(error)) ?? errors[0]
  } finally {
    signal.removeEventListener('abort', onAbort)
  }

  async function store(): Promise<Part | undefined> {
    const session = await open()
    // The sink may have failed meanwhile.
    if (errors.length > 0) return undefined
    signal.throwIfAborted()
    const out = copyOut(session.client, copySql(table, slice))
    copy = out
    const known = toSyncErrors(out, name)
    const rows = sink ? teeInto(sink, known) : known
    const part = await archive.putPart(
      table,
      slice.n,
      // A sink that stands still must not keep a store that failed waiting.
      { [Symbol.asyncIterator]: () => rows, destroy: stopAll },
      { columns: table.columns, expectedBytes: slice.bytes, signal, onBytes },
    )
    if (errors.length === 0 && out.rowCount !== part.rows) throw miscounted(name, out.rowCount, part.rows)
    return part
  }
}

/** The rows, with the source's errors in our words. */
async function* toSyncErrors(copy: CopyOut, name: string): AsyncGenerator<Buffer> {
  try {
    yield* copy
  } catch (error) {
    throw isEcho(error) ? error : fromPgError(error, `copying ${name}`)
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
