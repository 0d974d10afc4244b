import { z } from 'zod'
import { peakMemoryBytes } from '../../src/peak-memory.ts'
import { openSession } from '../../src/postgres/session.ts'
import { importDocuments } from '../../src/reindex/import-documents.ts'
import { streamDocuments } from '../../src/reindex/stream-documents.ts'
import { openTypesense } from '../../src/typesense/open-typesense.ts'

/*
 * A process of its own that sends what a select answers to a search server, as a reindex does, and tells its memory: its
 * argument is `{ database, typesense, select }`, its message at the end a Measured.
 */

export interface Measured {
  sent: number
  /** In bytes: before the first document, and the most there ever was. */
  rssBefore: number
  peakRss: number
}

const orderSchema = z.object({ database: z.string(), typesense: z.string(), select: z.string() })

const order = orderSchema.parse(JSON.parse(process.argv[2] ?? ''))
const { signal } = new AbortController()
await using session = await openSession(
  { name: 'staging', url: order.database, viaProxy: false },
  { purpose: 'search-memory', signal, readOnly: true },
)
await using typesense = await openTypesense({ url: new URL(order.typesense), apiKey: 'none', signal })
const rssBefore = peakMemoryBytes()
const { sent } = await importDocuments(typesense, 'components', streamDocuments(session, order.select, { signal }), {
  action: 'create',
  signal,
  onSent() {},
  onRefused() {},
  onWaiting(error) {
    throw error
  },
})
const measured: Measured = { sent, rssBefore, peakRss: peakMemoryBytes() }
process.send?.(measured)
process.disconnect()
