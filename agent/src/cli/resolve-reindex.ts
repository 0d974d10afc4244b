import type { JobParams } from '@multiboard-sync/shared/job'
import { collectionsOf, type Policy } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Command } from './parse-command.ts'

/**
 * The job that the command `reindex` means: without --from the collections say whose rows they are made of. Throws `usage`
 * when they are of several databases, and `collection-unknown`.
 */
export function resolveReindex(
  policy: Pick<Policy, 'collections' | 'databases' | 'routes'>,
  { source, aliases, full }: Extract<Command, { name: 'reindex' }>,
): JobParams {
  return {
    kind: 'reindex',
    source: source ?? onlyDatabase(policy, aliases),
    ...(aliases.length > 0 ? { collections: aliases } : {}),
    ...(full ? { full: true } : {}),
  }
}

function onlyDatabase(policy: Pick<Policy, 'collections' | 'databases' | 'routes'>, aliases: string[]): string {
  const { collections } = policy
  const all = Object.keys(collections)
  const unknown = aliases.find((alias) => !Object.hasOwn(collections, alias))
  if (all.length === 0 || unknown !== undefined) {
    const message =
      unknown === undefined ? 'agent.yaml has no collections.' : `The agent knows no collection "${unknown}".`
    throw new SyncError('collection-unknown', message, {
      hint: `It knows: ${all.join(', ') || 'none'}. Collections stand in agent.yaml.`,
    })
  }
  const meant = aliases.length > 0 ? aliases : all
  const databases = [...new Set(meant.flatMap((alias) => collections[alias]?.database ?? []))]
  const [only, ...others] = databases
  if (only !== undefined && others.length === 0) return only
  throw new SyncError('usage', 'The collections are made of the rows of several databases.', {
    hint: 'One job reindexes those of one: name it with --from, or name its collections.',
    details: databases.map((database) => `${database}: ${collectionsOf(policy, database).join(', ')}`),
  })
}
