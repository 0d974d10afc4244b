import { formatBytes } from '@multiboard-sync/shared/sizes'
import type { Capacity } from '../../typesense/typesense.ts'

/*
 * Whether new generations fit beside what is there. Measured on a real server: a million documents of 380 bytes take 750 MB
 * of memory; on disk the log of writes keeps every import until the server's next snapshot, beside the documents themselves.
 */

/** Bytes of memory for a byte of JSON. */
const MEMORY_FACTOR = 2
/** Bytes of disk for a byte of JSON: once in the log, once as documents. */
const DISK_FACTOR = 2
/** What does not even fit at this share of the estimate surely does not fit. */
const SURE_SHARE = 0.5

/** A generation that is to be made; the live one stays until it is proven. */
export interface Expected {
  alias: string
  jsonBytes: number
}

export function expectedMemory(jsonBytes: number): number {
  return jsonBytes * MEMORY_FACTOR
}

/** Findings name an alias. A notice says that it may become tight. */
export function checkCapacity(capacity: Capacity, expected: Expected[]): { findings: string[]; notices: string[] } {
  const kinds = [
    { what: 'memory', total: capacity.memoryTotalBytes, used: capacity.memoryUsedBytes, factor: MEMORY_FACTOR },
    { what: 'disk', total: capacity.diskTotalBytes, used: capacity.diskUsedBytes, factor: DISK_FACTOR },
  ]
  const findings: string[] = []
  const notices: string[] = []
  for (const { what, total, used, factor } of kinds) {
    const free = total - used
    // A host that does not tell its size is not one without any.
    if (total === 0) continue
    const surely = expected.filter(({ jsonBytes }) => jsonBytes * factor * SURE_SHARE > free)
    for (const { alias, jsonBytes } of surely) {
      findings.push(
        `${alias}: a new generation takes about ${formatBytes(round(jsonBytes * factor))} of ${what} beside the live one, and ${formatBytes(round(free))} are free (make room on the search server, or give it more)`,
      )
    }
    const needed = expected.reduce((sum, { jsonBytes }) => sum + jsonBytes * factor, 0)
    if (surely.length === 0 && needed > free) {
      notices.push(
        `${what} may become tight: new generations take about ${formatBytes(round(needed))} beside the live ones, and ${formatBytes(round(free))} are free`,
      )
    }
  }
  return { findings, notices }
}

function round(bytes: number): number {
  return Math.max(0, Math.round(bytes))
}
