import { isDeepStrictEqual } from 'node:util'
import type { CollectionResult } from '@multiboard-sync/shared/search'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Collection, Typesense } from '../typesense/typesense.ts'
import { waitUntilSettled } from '../typesense/wait-until-settled.ts'
import { bePatient, type Patience } from './be-patient.ts'
import { linksOf } from './full/carry.ts'
import { moveAlias, waitForLease } from './full/move-alias.ts'
import { readGeneration, writeGeneration, type Generation } from './generation.ts'
import { describeDrift } from './mapping/describe-drift.ts'
import { openDocuments, type OpenDocuments } from './open-documents.ts'
import type { PlannedReindex } from './planned-reindex.ts'
import { proveDocuments } from './prove-documents.ts'
import type { ReindexRun } from './reindex-run.ts'

/*
 * The search's part of an undo: the alias goes back to the generation that the undone job took it from, in seconds at any
 * size.
 *
 * Promises: the generation is proven to hold what the rows are now, before the alias moves; what the alias leaves says which
 * job has done so, so that an undo can be undone. A crash between two steps loses neither. Never: changes a document.
 */

interface Found {
  collection: Collection
  generation: Generation
}

interface Instead {
  instead: string
}

/**
 * `undone`: the job that is undone. Answers why another way has to be gone when there is no such generation, or it is not what
 * the rows are now. Throws `search-changed`, and what the database, the search server and the lease throw.
 */
export async function pointBack(
  run: ReindexRun,
  planned: PlannedReindex,
  undone: string,
): Promise<CollectionResult | Instead> {
  const startedAt = performance.now()
  const { alias } = planned
  const patience = bePatient(run, alias)
  const kept = await findKept(run, patience, { alias, undone })
  if ('instead' in kept) return kept
  const { name } = kept.collection
  await using open = await openDocuments(run, alias, planned.compiled.mapping, { purpose: 'point the search back' })
  const difference = findDifference(kept, open)
  if (difference !== undefined) return { instead: difference }
  const proven = await prove(run, open, name)
  if ('instead' in proven) return proven
  const present = await findPresent(run, patience, alias)
  if (present && present.collection.name !== name) {
    const changed = await findOtherSettings(run, patience, present.collection, kept.collection)
    if (changed !== undefined) return { instead: changed }
  }
  await waitForLease(run)
  // An earlier attempt may have come as far as this.
  if (present?.collection.name !== name) {
    const from = present?.collection
    await moveAlias(run, { alias, from, to: name, documents: proven.documents, moving: () => undefined })
  }
  const { replaced_by: _, ...live } = kept.generation
  const metadata = writeGeneration({ ...live, documents_checksum: open.checksum })
  await patience.ask(async () => await run.typesense.setMetadata(name, { ...kept.collection.metadata, ...metadata }))
  return {
    alias,
    state: 'fresh',
    mode: 'pointed-back',
    reason: `the collection that job ${undone} took the alias from holds what the rows are again`,
    collection: name,
    documents: proven.documents,
    upserted: 0,
    deleted: 0,
    compared: proven.compared,
    seconds: Math.round(performance.now() - startedAt) / 1000,
  }
}

/** The generation that the job took the alias from, read when nothing was queued any more. The last made where there are several. */
async function findKept(
  run: ReindexRun,
  patience: Patience,
  { alias, undone }: { alias: string; undone: string },
): Promise<Found | Instead> {
  await waitUntilSettled(run.typesense, patience)
  patience.onGoing()
  const collections = await patience.ask(async () => await run.typesense.listCollections())
  const [kept] = collections
    .flatMap(withGeneration)
    .filter(({ generation }) => generation.alias === alias && generation.replaced_by === undone)
    .toSorted((a, b) => (a.generation.made_at < b.generation.made_at ? 1 : -1))
  if (!kept) return { instead: `no collection is kept that job ${undone} took the alias from` }
  if (kept.generation.state !== 'complete') return { instead: 'the collection that is kept was never proven' }
  return kept
}

function withGeneration(collection: Collection): Found[] {
  const generation = readGeneration(collection)
  return generation ? [{ collection, generation }] : []
}

/** Why the kept collection is not what the rows make now; undefined as far as can be told without reading its documents. */
function findDifference({ collection, generation }: Found, open: OpenDocuments): string | undefined {
  const { compiled, documents, checksum } = open
  if (generation.mapping_sha256 !== compiled.sha256) return 'the mapping has changed since the collection was kept'
  const [drift] = describeDrift(compiled.schema, collection)
  if (drift !== undefined) return `the collection that is kept is not what the mapping makes: ${drift}`
  if (collection.documents !== documents) {
    return `the collection that is kept holds ${collection.documents} documents, and there are ${documents} rows`
  }
  // A sample would not tell the few documents that an incremental reindex had sent before it broke off.
  if (generation.documents_checksum === undefined)
    return 'the collection that is kept was changed and never proven since'
  return generation.documents_checksum === checksum ? undefined : 'rows have changed since the collection was kept'
}

async function prove(
  run: ReindexRun,
  open: OpenDocuments,
  name: string,
): Promise<{ documents: number; compared: number } | Instead> {
  try {
    // No limit on how much less it holds than what is live: it is what was there before.
    return await proveDocuments(run, open, name, { before: undefined })
  } catch (error) {
    if (!(error instanceof SyncError) || error.code !== 'search-proof-failed') throw error
    return { instead: `the collection that is kept is not what the rows are: ${error.message}` }
  }
}

/** What the alias points to now; undefined when it points nowhere. Throws where that is none of ours to be replaced. */
async function findPresent(run: ReindexRun, patience: Patience, alias: string): Promise<Found | undefined> {
  const aliases = await patience.ask(async () => await run.typesense.listAliases())
  const name = aliases.get(alias)
  const collection =
    name === undefined ? undefined : await patience.ask(async () => await run.typesense.findCollection(name))
  if (!collection) return undefined
  const generation = readGeneration(collection)
  if (generation?.alias === alias) return { collection, generation }
  throw new SyncError(
    'search-changed',
    `The alias ${alias} points to ${collection.name}, which is not of our making.`,
    {
      hint: 'Somebody else has set it. Point it back by hand, or ask for a reindex.',
    },
  )
}

/** Synonyms and the like that people have set up since must not be lost by an undo: why they would, if so. */
async function findOtherSettings(
  { typesense }: ReindexRun,
  patience: Patience,
  present: Collection,
  kept: Collection,
): Promise<string | undefined> {
  const settingsOf = async (collection: Collection): Promise<unknown> =>
    typesense.hasSets ? linksOf(collection) : inOrder(await typesense.readBelongings(collection.name))
  const [now, then] = [
    await patience.ask(async () => await settingsOf(present)),
    await patience.ask(async () => await settingsOf(kept)),
  ]
  return isDeepStrictEqual(now, then) ? undefined : 'synonyms or curations have changed since the collection was kept'
}

function inOrder({ synonyms, overrides }: Awaited<ReturnType<Typesense['readBelongings']>>): unknown {
  const byId = (all: Record<string, unknown>[]) => all.toSorted((a, b) => (String(a['id']) < String(b['id']) ? -1 : 1))
  return [byId(synonyms), byId(overrides)]
}
