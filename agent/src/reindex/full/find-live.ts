import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Collection, Typesense } from '../../typesense/typesense.ts'

/** What searches for an alias reach: behind the alias, or a plain collection that bears its name. */
export interface Live {
  collection: Collection | undefined
  isPlain: boolean
}

/**
 * Reads it anew and holds it against the collection that the preflight saw. Throws `search-changed` when another one is
 * behind the alias by now, or an alias hides behind a plain collection of its name.
 */
export async function findLive(typesense: Typesense, alias: string, planned: string | undefined): Promise<Live> {
  const target = (await typesense.listAliases()).get(alias)
  const plain = await typesense.findCollection(alias)
  if (plain && target !== undefined) {
    throw new SyncError('search-changed', `A collection and an alias are both called ${alias}.`, {
      hint: `Delete the alias, which nobody reaches: DELETE /aliases/${alias}. It deletes no collection.`,
    })
  }
  const found = plain?.name ?? target
  if (found !== planned) {
    const was = planned ?? 'nothing'
    throw new SyncError(
      'search-changed',
      `Searches for ${alias} reached ${was} before, and ${found ?? 'nothing'} now.`,
      {
        hint: 'Find out who else sets this alias, then ask for the reindex again.',
      },
    )
  }
  if (plain) return { collection: plain, isPlain: true }
  return { collection: target === undefined ? undefined : await typesense.findCollection(target), isPlain: false }
}
