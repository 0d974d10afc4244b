import type { Collection, Typesense } from '../typesense/typesense.ts'
import { readGeneration, type Generation } from './generation.ts'

/*
 * What is dropped of earlier generations, and what is not.
 *
 * Promises: only what bears a generation's name and its metadata, was live once, and is behind no alias is dropped, by its
 * exact real name, beyond the number that is kept for undo. Never: touches a collection that somebody else made, or one that
 * may be in the making.
 */

interface Found {
  collection: string
  generation: Generation
}

/**
 * Of one alias's generations those beyond `keep`, oldest last. A generation that was live says which job took its place; what
 * the given job replaced is kept first, for that is what its undo needs.
 */
function chooseOld(
  collections: Pick<Collection, 'name' | 'metadata'>[],
  aliases: ReadonlyMap<string, string>,
  alias: string,
  { keep, job }: { keep: number; job?: string },
): string[] {
  const aliased = new Set(aliases.values())
  const previous = collections
    .map((collection) => ({ collection: collection.name, generation: readGeneration(collection) }))
    .filter((found): found is Found => found.generation !== undefined)
    .filter(({ generation }) => generation.alias === alias && wasLive(generation))
    // A collection that bears the name of an alias is reached by it, too, whatever the alias points to.
    .filter(({ collection }) => !aliased.has(collection) && !aliases.has(collection))
    .toSorted((a, b) => rank(b, job) - rank(a, job) || (a.generation.made_at < b.generation.made_at ? 1 : -1))
  return previous.slice(keep).map(({ collection }) => collection)
}

function wasLive({ state, replaced_by }: Generation): boolean {
  return state === 'complete' && replaced_by !== undefined
}

function rank({ generation }: Found, job: string | undefined): number {
  return job !== undefined && generation.replaced_by === job ? 1 : 0
}

/**
 * Drops the previous generations of an alias beyond `keep`. Answers their names. Throws `search-changed` when an alias points
 * to one by now, and what the server's door throws.
 */
export async function cleanUp(
  typesense: Typesense,
  alias: string,
  keep: number,
  { job }: { job?: string } = {},
): Promise<string[]> {
  const [aliases, collections] = [await typesense.listAliases(), await typesense.listCollections()]
  const dropped: string[] = []
  for (const name of chooseOld(collections, aliases, alias, { keep, ...(job === undefined ? {} : { job }) })) {
    if (await dropGeneration(typesense, name, (generation) => generation.alias === alias && wasLive(generation)))
      dropped.push(name)
  }
  return dropped
}

/**
 * Drops a collection if it is still a generation of which this is true, and behind no alias; answers whether it did. What it
 * is, is read again: between choosing and dropping somebody may have pointed an alias to it.
 */
export async function dropGeneration(
  typesense: Typesense,
  name: string,
  isMeant: (generation: Generation) => boolean,
): Promise<boolean> {
  const collection = await typesense.findCollection(name)
  const generation = collection && readGeneration(collection)
  if (!generation || collection.name !== name || !isMeant(generation)) return false
  const aliases = await typesense.listAliases()
  if (aliases.has(name) || [...aliases.values()].includes(name)) return false
  await typesense.dropCollection(name)
  return true
}
