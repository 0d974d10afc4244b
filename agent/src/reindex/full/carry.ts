import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Collection, Typesense } from '../../typesense/typesense.ts'

/*
 * What people have set up for the live collection beside its documents. From version 30 on these are links to sets that stand
 * by themselves; before, synonyms and overrides belong to the collection and would be lost with it.
 */

type Links = Pick<Collection, 'synonymSets' | 'curationSets'>

export function linksOf(live: Collection | undefined): Links {
  return { synonymSets: live?.synonymSets ?? [], curationSets: live?.curationSets ?? [] }
}

/** Before version 30: copies what the live collection has now. Can be done again. Throws `search-proof-failed`. */
export async function copyBelongings(typesense: Typesense, live: Collection | undefined, to: string): Promise<void> {
  if (typesense.hasSets || !live) return
  const belongings = await typesense.readBelongings(live.name)
  await typesense.writeBelongings(to, belongings)
  const copied = await typesense.readBelongings(to)
  const { synonyms, overrides } = belongings
  if (copied.synonyms.length >= synonyms.length && copied.overrides.length >= overrides.length) return
  const message = `Of ${synonyms.length} synonyms and ${overrides.length} overrides of ${live.name} not all could be copied.`
  throw new SyncError('search-proof-failed', message, { hint: 'Ask for the reindex again.' })
}

/** Somebody changed what the live collection is linked to since it was read. Throws `search-changed`. */
export function refuseOtherLinks(before: Collection | undefined, now: Collection | undefined): void {
  if (JSON.stringify(linksOf(before)) === JSON.stringify(linksOf(now))) return
  throw new SyncError(
    'search-changed',
    'The synonyms or curations of the live collection were linked anew in the meantime.',
    {
      hint: 'Ask for the reindex again: it takes the new links.',
      retryable: true,
    },
  )
}
