import type { JobParams } from '../../shared/src/job.ts'

/** What the benchmark and its processes, which are of the same code, say to each other. */

export type ReaderOrder = ({ order: 'start'; url: string } & Reading) | { order: 'stop' }

/** What readers read: one connection for each of `reads`, with an id of those that the query `ids` selects as $1. */
export interface Reading {
  reads: string[]
  ids: string
  /** Rests between two reads of a connection. Absent: as fast as it can. */
  restMs?: number
}

/** What readers did: how many reads, and where each longer wait began (nowMs()) and how long it was, in milliseconds. */
export interface Read {
  reads: number
  waits: [atMs: number, ms: number][]
}

export interface AgentOrder {
  params: JobParams
}

/** A job that has ended. */
export interface Ran {
  job: string
  endedMs: number
  /** The phases and events, as they came (nowMs()). */
  marks: Mark[]
  result: {
    outcome: string
    engine?: string | undefined
    seconds: number
    archive?: { id: string } | undefined
    tables: number
    rows: number
    bytes: number
  }
}

export interface Mark {
  name: string
  atMs: number
  data: Record<string, unknown>
}
