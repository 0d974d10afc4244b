import { Transform } from 'node:stream'
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

export interface FramedRows {
  stream: Transform
  /** So far; final when the stream has ended. */
  counted: { rows: number; bytes: number }
}

/** Puts raw COPY text between header and trailer and counts it. `onBytes` is given increments. */
export function frameRows(header: Buffer, onBytes?: (rawBytes: number, rows: number) => void): FramedRows {
  const counted = { rows: 0, bytes: 0 }
  let last = NEWLINE
  let gathered = [header]
  let gatheredBytes = header.length
  const take = (more: Buffer): Buffer => {
    const all = gathered.length === 0 ? more : Buffer.concat([...gathered, more])
    gathered = []
    gatheredBytes = 0
    return all
  }
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      if (chunk.length > 0) {
        const rows = countRows(chunk)
        counted.rows += rows
        counted.bytes += chunk.length
        last = chunk[chunk.length - 1] ?? last
        onBytes?.(chunk.length, rows)
      }
      if (gatheredBytes + chunk.length >= GATHER_BYTES) return callback(null, take(chunk))
      gathered.push(chunk)
      gatheredBytes += chunk.length
      callback()
    },
    flush(callback) {
      if (last === NEWLINE) return callback(null, take(TRAILER))
      callback(
        new SyncError('connection-lost', 'The rows of a table ended in the middle of a row.', { retryable: true }),
      )
    },
  })
  return { stream, counted }
}
