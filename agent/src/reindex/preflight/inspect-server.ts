import { setTimeout as pause } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import type { Capacity, Collection, Typesense } from '../../typesense/typesense.ts'
import { closed, isClosed } from './not-ready.ts'

/** The search server as it is now, and what of it stands in the way of any collection. */
export interface SearchServer {
  aliases: ReadonlyMap<string, string>
  collections: ReadonlyMap<string, Collection>
  /** Undefined where the key may not read metrics. */
  capacity: Capacity | undefined
  /** Undefined before version 30, and where the key may not list them. */
  sets: { synonymSets: ReadonlySet<string>; curationSets: ReadonlySet<string> } | undefined
  /** Writes wait to be indexed: a further one would wait behind them. */
  isBehind: boolean
  findings: string[]
  notices: string[]
}

/** Before 27 a refused line of an import does not say which document it is. After 30 nobody has looked yet. */
const OLDEST_MAJOR = 27
const NEWEST_MAJOR = 30
/** Between two looks at the queue of writes. */
const LOOK_MS = 500

const WHO = 'search server'

/** Throws `search-not-ready` with one finding when the server does not answer, or not to this key. */
export async function inspectServer(
  typesense: Typesense,
  options: { settleMs: number; signal: AbortSignal },
): Promise<SearchServer> {
  try {
    const health = await checkHealth(typesense)
    const queue = await checkQueue(typesense, options)
    const { findings: versionFindings, notices } = checkVersion(typesense.version)
    const [aliases, collections] = [await typesense.listAliases(), await typesense.listCollections()]
    const capacity = await typesense.capacity()
    if (!capacity) notices.push('memory and disk were not looked at: the key may not read metrics (metrics.json:list)')
    return {
      aliases,
      collections: new Map(collections.map((collection) => [collection.name, collection])),
      capacity,
      sets: await readSets(typesense),
      isBehind: queue.length > 0,
      findings: [...versionFindings, ...health, ...queue],
      notices,
    }
  } catch (error) {
    throw isClosed(error) ? closed(error) : error
  }
}

async function checkHealth(typesense: Typesense): Promise<string[]> {
  const { ok, resourceError } = await typesense.health()
  if (!ok) return [`${WHO}: it says that it is not ready (wait until GET /health answers "ok": true)`]
  if (resourceError === undefined) return []
  const what = resourceError === 'OUT_OF_DISK' ? 'disk' : resourceError === 'OUT_OF_MEMORY' ? 'memory' : resourceError
  return [`${WHO}: it is out of ${what} and refuses writes (make room there; GET /health shows when it is over)`]
}

/** Healthy is not caught up: until the queue is empty, counts mean nothing, and new writes wait behind it. */
async function checkQueue(
  typesense: Typesense,
  { settleMs, signal }: { settleMs: number; signal: AbortSignal },
): Promise<string[]> {
  const deadline = performance.now() + settleMs
  for (;;) {
    const queued = await typesense.queuedWrites()
    if (queued === 0) return []
    const leftMs = deadline - performance.now()
    if (leftMs <= 0) {
      return [
        `${WHO}: ${formatNumberOf(queued, 'write')} waiting to be indexed (wait until "queued_writes" of GET /status is 0; after a restart that takes minutes)`,
      ]
    }
    // Its own AbortError would not say why.
    await pause(Math.min(LOOK_MS, leftMs), undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

function checkVersion({ major, text }: Typesense['version']): { findings: string[]; notices: string[] } {
  if (major > 0 && major < OLDEST_MAJOR) {
    return { findings: [`${WHO}: its version is ${text} (${OLDEST_MAJOR} is the oldest that works here)`], notices: [] }
  }
  const isKnown = major >= OLDEST_MAJOR && major <= NEWEST_MAJOR
  return {
    findings: [],
    notices: isKnown
      ? []
      : [`its version is ${text || 'not known'}: nobody has tried this with it, it is treated like ${NEWEST_MAJOR}`],
  }
}

async function readSets(typesense: Typesense): Promise<SearchServer['sets']> {
  if (!typesense.hasSets) return undefined
  try {
    const { synonymSets, curationSets } = await typesense.listSets()
    return { synonymSets: new Set(synonymSets), curationSets: new Set(curationSets) }
  } catch (error) {
    // What the key lacks is told once, among its rights.
    if (error instanceof SyncError && error.code === 'search-auth') return undefined
    throw error
  }
}
