import type { CollectionResult, SearchMode } from '@multiboard-sync/shared/search'
import type { SyncError } from '@multiboard-sync/shared/sync-error'

/** Normalised errors of refused documents that travel with a result. */
const MAX_DETAILS = 20
/** As the contract has it; of the details less, so that those of many collections travel in one request. */
const MAX_TEXT = 2000
const MAX_DETAIL = 300
/** What these say to do is said of the database, where nothing is left to do. */
const OF_THE_JOB: ReadonlySet<string> = new Set(['canceled', 'lease-lost', 'fence-superseded'])

/** A collection that no plan could be made for. */
export interface Unplanned {
  alias: string
  mode: SearchMode
  reason: string
  error: SyncError
}

/** What a collection is that did not become fresh: what was live before still is. */
export function staleResult(
  { alias, mode, reason }: Pick<Unplanned, 'alias' | 'mode' | 'reason'>,
  { code, message, hint, details }: SyncError,
  seconds: number,
): CollectionResult {
  const isOfTheJob = OF_THE_JOB.has(code)
  return {
    alias,
    state: 'stale',
    mode,
    reason,
    upserted: 0,
    deleted: 0,
    compared: 0,
    seconds: Math.round(seconds * 1000) / 1000,
    code,
    message: message.slice(0, MAX_TEXT),
    hint: `${isOfTheJob || hint === '' ? 'Run' : `${hint} Then run`} \`pnpm agent reindex ${alias}\`.`.slice(
      0,
      MAX_TEXT,
    ),
    ...(details.length > 0
      ? { details: details.slice(0, MAX_DETAILS).map((detail) => detail.slice(0, MAX_DETAIL)) }
      : {}),
  }
}
