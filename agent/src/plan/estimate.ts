import type { Plan } from './plan.ts'

/*
 * Rough figures for a plan, from bytes alone. Measured on two cores with everything on one machine; a network or a large
 * server is several times slower or faster.
 */

/** Reading a source and storing it: COPY, compression and one connection to the store share a core. */
const EXPORT_BYTES_PER_SECOND = 15e6
/** Fetching, loading, building indexes and proving. */
const LOAD_BYTES_PER_SECOND = 15e6
/** The safety backup of what is replaced. */
const BACKUP_BYTES_PER_SECOND = 20e6
/** Connections, catalogues, the manifest. */
const START_SECONDS = 2
/** Making a table beside and moving it at the swap (measured: 3 ms and 1 ms), its archive object, its proof. */
const TABLE_SECONDS = 0.02
/** Where nothing is known of the indexes: what they commonly are of their tables. */
const USUAL_INDEX_SHARE = 0.4

type Sized = Pick<Plan, 'kind' | 'engine' | 'bytes' | 'tables' | 'replaced'>

/**
 * Bytes that the new tables and their indexes take beside the target's own: with swap until the previous tables are
 * dropped, with merge and truncate until the job has ended, with create for good. The write-ahead log of the load, about
 * as much again except for merge, is not counted.
 */
export function estimateDiskBytes({ bytes, replaced }: Pick<Sized, 'bytes' | 'replaced'>): number {
  const isKnown = replaced !== undefined && replaced.bytes > 0
  return Math.round(bytes * (1 + (isKnown ? replaced.index_bytes / replaced.bytes : USUAL_INDEX_SHARE)))
}

/**
 * Seconds: 2, a fiftieth for each table, the export of a sync at 15 MB/s, the load at 15 MB/s, the safety backup at
 * 20 MB/s: beside the load for swap and merge, before it for truncate.
 */
export function estimateSeconds({ kind, engine, bytes, tables, replaced }: Sized): number {
  const load = bytes / LOAD_BYTES_PER_SECOND
  const backup = (replaced?.bytes ?? 0) / BACKUP_BYTES_PER_SECOND
  const both = engine === 'swap' || engine === 'merge' ? Math.max(load, backup) : load + backup
  return round(estimateExportSeconds(kind === 'sync' ? bytes : 0, tables.length) + both)
}

export function estimateExportSeconds(bytes: number, tables: number): number {
  return round(START_SECONDS + tables * TABLE_SECONDS + bytes / EXPORT_BYTES_PER_SECOND)
}

function round(seconds: number): number {
  return Math.round(seconds * 10) / 10
}
