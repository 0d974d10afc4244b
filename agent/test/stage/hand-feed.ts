import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ArchivedTable, Column } from '@multiboard-sync/shared/manifest'
import type { Feed, FeedPiece, FeedTable } from '../../src/feed/feed.ts'

/** A table's rows as COPY text, piece by piece. */
export interface HandTable {
  name: string
  columns: string[]
  pieces: string[]
  /** As it is told; small tables are treated otherwise. */
  bytes?: number
}

/** Called before a piece goes: waits, or throws what a source or store would. Attempts count from 1. */
export type Before = (piece: FeedPiece, attempt: number, signal: AbortSignal) => Promise<void> | void

/** Rows made up by hand, of tables in the schema public; so that a test decides when which piece goes, and fails. */
export function handFeed(tables: HandTable[], before: Before = () => undefined): Feed {
  const attempts = new Map<FeedPiece, number>()
  const texts = new Map<FeedPiece, string>()
  const feedTables = tables.map((one): FeedTable => {
    const { name, columns, pieces, bytes = pieces.reduce((sum, piece) => sum + piece.length, 0) } = one
    const table = { schema: 'public', name, columns: columns.map(column), bytes }
    for (const [n, text] of pieces.entries()) texts.set({ table, n, bytes: text.length }, text)
    return table
  })
  return {
    archive: '20261122T080312Z-production-hand',
    tables: feedTables,
    pieces: [...texts.keys()],
    async pour(piece, sink, _lane, { signal, onBytes }) {
      const attempt = (attempts.get(piece) ?? 0) + 1
      attempts.set(piece, attempt)
      const text = texts.get(piece) ?? ''
      const rows = countOf(text)
      async function* read(): AsyncGenerator<Buffer> {
        await before(piece, attempt, signal)
        onBytes(text.length, rows)
        yield Buffer.from(text)
      }
      await pipeline(Readable.from(read()), sink, { signal })
      return { rows }
    },
    finish: async () => {
      return feedTables.map((table): ArchivedTable => {
        const parts = [...texts].filter(([piece]) => piece.table === table)
        const rows = parts.reduce((sum, [, text]) => sum + countOf(text), 0)
        const { schema, name, columns, bytes } = table
        return { schema, name, columns, bytes, rows, parts: [] }
      })
    },
  }
}

/** The numbers from one to another, a line each. */
export function numbers(from: number, to: number): string {
  return Array.from({ length: to - from + 1 }, (_, n) => `${from + n}\n`).join('')
}

function countOf(text: string): number {
  return text.split('\n').length - 1
}

function column(name: string): Column {
  return { name, type: 'integer', not_null: false, has_default: false, generated: '', identity: '' }
}
