import type { Journal } from '../journal/journal.ts'
import type { ObjectStore } from '../archive/object-store.ts'
import type { DatabaseUrl } from '../postgres/session.ts'
import type { Lease } from '../report/lease.ts'
import type { Reporter } from '../report/reporter.ts'
import type { Typesense } from '../typesense/typesense.ts'

/** Who watches a reindex, what guards it, and what it works with. */
export interface ReindexRun {
  job: string
  typesense: Typesense
  /** Whose rows become documents. */
  database: DatabaseUrl
  /** For the ids of refused documents, beside the archives. */
  store: ObjectStore
  prefix: string
  reporter: Reporter
  lease: Lease
  journal: Journal
  /** How long a search server that does not answer is waited for. Default as in patiently(). */
  giveUpAfterMs?: number
  signal: AbortSignal
}
