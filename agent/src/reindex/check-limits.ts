import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Mapping } from '@multiboard-sync/shared/mapping'

/**
 * Refuses to make so few documents live; `before` is what is live now, undefined where there is no index yet. Throws
 * `search-shrunk`.
 */
export function checkLimits({ verify }: Mapping, before: number | undefined, documents: number): void {
  if (documents < verify.min_count) {
    throw new SyncError(
      'search-shrunk',
      `The rows make ${documents} documents, and verify.min_count is ${verify.min_count}.`,
      {
        hint: 'Look at what the mapping selects, or lower verify.min_count in agent.yaml.',
      },
    )
  }
  if (before === undefined || documents >= before * (1 - verify.max_shrink_pct / 100)) return
  throw new SyncError(
    'search-shrunk',
    `The rows make ${documents} documents where ${before} are live: more than ${verify.max_shrink_pct} % would be lost.`,
    { hint: 'If that is meant, raise verify.max_shrink_pct in agent.yaml and ask for the reindex again.' },
  )
}
