import type { Collection, Typesense } from '../../typesense/typesense.ts'
import { dropGeneration } from '../clean-up.ts'
import { readGeneration, type Generation } from '../generation.ts'

/** A generation that never was live and never will be: its job ended before the alias was set. */
export interface LeftoverGeneration {
  collection: string
  alias: string
  job: string
  state: Generation['state']
  documents: number
  madeAt: string
}

/** True for a generation that no alias ever pointed to: what was live is marked before the alias is moved away from it. */
export function neverWasLive(generation: Generation): boolean {
  return generation.replaced_by === undefined
}

/**
 * Unproven generations that dead jobs left. `isFinished` must be true only for jobs that are known to have ended. A proven one
 * that no alias points to may have been live until somebody moved the alias by hand: only its own job drops that.
 */
export async function findLeftoverGenerations(
  typesense: Typesense,
  isFinished: (job: string) => boolean,
): Promise<LeftoverGeneration[]> {
  const [aliases, collections] = [await typesense.listAliases(), await typesense.listCollections()]
  return chooseLeftovers(collections, aliases, isFinished)
}

function chooseLeftovers(
  collections: Collection[],
  aliases: ReadonlyMap<string, string>,
  isFinished: (job: string) => boolean,
): LeftoverGeneration[] {
  const aliased = new Set(aliases.values())
  return collections.flatMap((collection) => {
    const generation = readGeneration(collection)
    if (generation?.state !== 'building' || !neverWasLive(generation) || !isFinished(generation.job)) return []
    if (aliased.has(collection.name) || aliases.has(collection.name)) return []
    const { alias, job, state, made_at: madeAt } = generation
    return [{ collection: collection.name, alias, job, state, documents: collection.documents, madeAt }]
  })
}

/** Drops it by its exact name, unless it has become something else. Answers whether it was dropped. */
export async function dropLeftover(typesense: Typesense, leftover: LeftoverGeneration): Promise<boolean> {
  return await dropGeneration(
    typesense,
    leftover.collection,
    (generation) => generation.job === leftover.job && generation.state === 'building' && neverWasLive(generation),
  )
}
