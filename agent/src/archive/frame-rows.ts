import type { Column } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { quoteIdent, quoteTable } from '../postgres/quote.ts'
import { encodeTable } from './object-names.ts'

/** Ends the rows for psql (PostgreSQL docs, "COPY", text format). */
export const TRAILER = Buffer.from('\\.\n')
const NEWLINE = 10
/** Each chunk costs a trip to libuv's threads: in chunks of 8 KiB packing takes twice the CPU. Larger ones pass uncopied. */
const GATHER_BYTES = 64 * 1024

/**
 * What stands before the rows, so that a part is a complete SQL file. Generated columns are not in the rows. The comment
 * holds the encoded name, which has no line breaks.
 */
export function partHeader(table: { schema: string; name: string }, n: number, columns: Column[]): Buffer {
  const names = columns.filter((column) => column.generated === '').map((column) => quoteIdent(column.name))
  const list = names.length === 0 ? '' : ` (${names.join(', ')})`
  return Buffer.from(
    `-- multiboard-sync archive, format 1: ${encodeTable(table)}, part ${n}\n` +
      `SET client_encoding = 'UTF8';\n` +
      `COPY ${quoteTable(table)}${list} FROM stdin;\n`,
  )
}

/** Rows end in a newline, and COPY writes newlines inside values as `\n`: newline bytes are rows. */
export function countRows(chunk: Buffer): number {
  let rows = 0
  for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1)) rows += 1
  return rows
}

/** What has passed so far; final when the rows have ended. */
export interface Counted {
  rows: number
  bytes: number
}

/**
 * Raw COPY text between header and trailer, counted on its way. `onBytes` is given increments. A chunk that is given out is
 * good until the next is asked for, as those that come in need to be. Throws `connection-lost` when the last row has no end.
 */
export async function* frameRows(
  rows: AsyncIterable<Buffer>,
  header: Buffer,
  counted: Counted,
  onBytes?: (rawBytes: number, rows: number) => void,
): AsyncGenerator<Buffer> {
  let last = NEWLINE
  let gathered = [header]
  let gatheredBytes = header.length
  for await (const chunk of rows) {
    if (chunk.length === 0) continue
    const inChunk = countRows(chunk)
    counted.rows += inChunk
    counted.bytes += chunk.length
    last = chunk[chunk.length - 1] ?? last
    onBytes?.(chunk.length, inChunk)
    if (gatheredBytes + chunk.length < GATHER_BYTES) {
      gathered.push(Buffer.from(chunk))
      gatheredBytes += chunk.length
      continue
    }
    if (gatheredBytes > 0) yield Buffer.concat(gathered)
    ;[gathered, gatheredBytes] = [[], 0]
    yield chunk
  }
  if (last !== NEWLINE) {
    throw new SyncError('connection-lost', 'The rows of a table ended in the middle of a row.', { retryable: true })
  }
  yield Buffer.concat([...gathered, TRAILER])
}
