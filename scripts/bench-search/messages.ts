import type { SearchResult } from '../../shared/src/search.ts'

/** What the search benchmark and its processes, which are of the same code, say to each other. */

/** `stream`: make all documents and count them, or write them to a file. `reindex`: run the job. */
export type SearchOrder = { order: 'stream'; file?: string } | { order: 'reindex'; full: boolean }

/** What it took: the process is a fresh one, so its peak is this order's, and its start. */
export interface Cost {
  seconds: number
  /** Of the process itself, user and system. */
  cpuSeconds: number
  /** Bytes: before the order, and the most there ever was. */
  rssBefore: number
  peakRss: number
}

export interface Streamed extends Cost {
  documents: number
  bytes: number
  /** Of the collection, as the server takes it. */
  schema: object
}

export interface Reindexed extends Cost {
  search: SearchResult
}
