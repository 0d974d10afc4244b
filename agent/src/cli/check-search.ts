import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from '../context.ts'

/** Whether the search server could be reindexed now: its version, its queue, and where the aliases of agent.yaml point. */
export async function checkSearch(context: AgentContext, signal: AbortSignal): Promise<string> {
  await using typesense = await context.openTypesense(signal)
  const { ok, resourceError } = await typesense.health()
  if (!ok || resourceError !== undefined) {
    throw new SyncError(
      'search-not-ready',
      `The search server is not healthy${resourceError ? `: ${resourceError}` : ''}.`,
      {
        hint: 'Look at GET /health there: it starts, lags behind, or has run out of memory or disk.',
      },
    )
  }
  const queued = await typesense.queuedWrites()
  const behind = await typesense.listAliases()
  const there = new Set((await typesense.listCollections()).map(({ name }) => name))
  const aliases = Object.keys(context.policy.collections)
  const dangling = aliases.filter((alias) => behind.has(alias) && !there.has(behind.get(alias) ?? ''))
  if (dangling.length > 0) {
    throw new SyncError(
      'search-not-ready',
      `Aliases point to collections that are not there: ${dangling.join(', ')}.`,
      {
        hint: 'Reindex them: `pnpm agent reindex` makes the collections anew.',
      },
    )
  }
  const text = aliases.map((alias) => {
    const target = behind.get(alias) ?? (there.has(alias) ? 'a plain collection' : 'no index yet')
    return `${alias}: ${target}`
  })
  return [
    `Typesense ${typesense.version.text}, ${queued === 0 ? 'caught up' : `${formatNumberOf(queued, 'write')} queued`}`,
    ...text,
  ].join('; ')
}
