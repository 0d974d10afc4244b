import type { Typesense } from '../../typesense/typesense.ts'
import { waitUntilSettled } from '../../typesense/wait-until-settled.ts'
import { dropGeneration } from '../clean-up.ts'
import { parseGenerationName, readGeneration, type Generation } from '../generation.ts'
import { neverWasLive } from './find-leftover-generations.ts'

/*
 * What is left of a job that crashed or was stopped, put right from what its journal says.
 *
 * Promises: an adoption that has dropped the plain collection is finished before anything else; then what the job made and
 * never made live is dropped, by its exact name from the journal, and only with the job's metadata. Can be done again at any
 * time. Never: drops what an alias points to or what was live once, or moves an alias that points anywhere.
 */

interface MadeGeneration {
  alias: string
  collection: string
}
interface Adopting extends MadeGeneration {
  plain: string
}

export interface Settled {
  /** Aliases that were set, because the plain collection of their name was gone already. */
  finished: string[]
  dropped: string[]
  /** In use, or somebody else's by now. */
  kept: string[]
}

/** What was sent before a connection broke may still be in the server's queue, an alias among it. */
const QUEUE_TIMEOUT_MS = 60_000

/** Throws what the server's door throws, and `search-unreachable` while its queue does not become empty. */
export async function settleGenerations(
  typesense: Typesense,
  job: string,
  made: MadeGeneration[],
  adopting: Adopting[],
): Promise<Settled> {
  const settled: Settled = { finished: [], dropped: [], kept: [] }
  if (made.length === 0) return settled
  // Aborting what the server was opened with ends this, too.
  const { signal } = new AbortController()
  await waitUntilSettled(typesense, { signal, giveUpAfterMs: QUEUE_TIMEOUT_MS, onWaiting: () => undefined })
  for (const adoption of adopting) {
    if (await finishAdoption(typesense, job, adoption)) settled.finished.push(adoption.alias)
  }
  for (const { alias, collection } of made) {
    const found = await typesense.findCollection(collection)
    if (!found) continue
    const isPlainThere = (await typesense.findCollection(alias)) !== undefined
    const isMeant = (generation: Generation): boolean =>
      generation.job === job && (neverWasLive(generation) || (isPlainThere && isCopy(generation)))
    const isDropped = isUnmarkedCopy(found, job)
      ? await dropUnmarked(typesense, collection)
      : await dropGeneration(typesense, collection, isMeant)
    ;(isDropped ? settled.dropped : settled.kept).push(collection)
  }
  return settled
}

/** Sets the alias where neither it nor the plain collection is there any more. Answers whether it did. */
async function finishAdoption(
  typesense: Typesense,
  job: string,
  { alias, collection, plain }: Adopting,
): Promise<boolean> {
  if (await typesense.findCollection(plain)) return false
  if ((await typesense.listAliases()).has(alias)) return false
  const found = await typesense.findCollection(collection)
  const generation = found && readGeneration(found)
  if (generation?.job !== job || generation.state !== 'complete') return false
  await typesense.putAlias(alias, collection)
  return true
}

/** Of a plain collection that is still there: it was to be dropped, and was not. */
function isCopy({ job, replaced_by }: Generation): boolean {
  return replaced_by === job
}

/** The server copies no metadata: a copy bears the job's name before it bears its mark. */
function isUnmarkedCopy(found: { name: string; metadata: Record<string, unknown> }, job: string): boolean {
  return parseGenerationName(found.name)?.job === job && !readGeneration(found)
}

async function dropUnmarked(typesense: Typesense, name: string): Promise<boolean> {
  const aliases = await typesense.listAliases()
  if (aliases.has(name) || [...aliases.values()].includes(name)) return false
  await typesense.dropCollection(name)
  return true
}
