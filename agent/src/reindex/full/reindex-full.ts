import type { CollectionResult } from '@multiboard-sync/shared/search'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { Collection } from '../../typesense/typesense.ts'
import { waitUntilSettled } from '../../typesense/wait-until-settled.ts'
import { bePatient } from '../be-patient.ts'
import { checkLimits } from '../check-limits.ts'
import { cleanUp, dropGeneration } from '../clean-up.ts'
import { writeGeneration } from '../generation.ts'
import { openDocuments, type OpenDocuments } from '../open-documents.ts'
import { checkCapacity } from '../preflight/check-capacity.ts'
import { lookAtRows } from '../preflight/look-at-rows.ts'
import type { PlannedReindex } from '../planned-reindex.ts'
import { proveDocuments } from '../prove-documents.ts'
import type { ReindexRun } from '../reindex-run.ts'
import { adopt } from './adopt.ts'
import { copyBelongings } from './carry.ts'
import { fillGeneration } from './fill-generation.ts'
import { findLive, type Live } from './find-live.ts'
import { neverWasLive } from './find-leftover-generations.ts'
import { makeGeneration, type Made } from './make-generation.ts'
import { moveAlias } from './move-alias.ts'

/*
 * A new generation beside the live one, from one snapshot of the rows:
 *
 *   snapshot ─► limits ─► collection ─► documents ─► proof ─► complete ─► alias ─► clean-up
 *               └─────────── the live one is not touched ───────────┘
 *
 * Promises: searches through the alias reach the old index, whole, until they reach the new one, whole and proven. What fails
 * before the alias is set leaves the live one as it was and takes its own generation away, or leaves it to be recognised.
 * Never: drops what it has not made, or anything while nobody knows whether an alias points to it.
 */

/** Throws what stands in the way; the live index is then what it was. */
export async function reindexFull(run: ReindexRun, planned: PlannedReindex, reason: string): Promise<CollectionResult> {
  const startedMs = performance.now()
  const { alias } = planned
  await using open = await openDocuments(run, alias, planned.compiled.mapping, { purpose: `reindex ${alias}` })
  const live = await readLive(run, planned)
  const { mapping } = open.compiled
  checkLimits(mapping, live.collection?.documents, open.documents)
  const made = await makeGeneration(run, open.compiled, live.collection)
  let mayBeLive = false
  let compared: number
  try {
    compared = await build(run, open, made, live.collection)
    const plain = live.isPlain ? live.collection : undefined
    const keepsCopy = plain !== undefined && (await hasRoomForCopy(run, open, plain))
    // The rows are no longer needed, and their tables no longer held.
    await open.session.close()
    const moving = () => void (mayBeLive = true)
    const move = { alias, from: live.collection, to: made.name, documents: open.documents, moving }
    if (plain) await adopt(run, { ...move, from: plain, generation: made.generation, keepsCopy })
    else await moveAlias(run, move)
  } catch (error) {
    if (!mayBeLive) await dropBuilding(run, made)
    throw error
  }
  await tidy(run, alias, mapping.keep)
  return {
    alias,
    state: 'fresh',
    mode: 'full',
    reason,
    collection: made.name,
    documents: open.documents,
    upserted: open.documents,
    deleted: 0,
    compared,
    seconds: Math.round(performance.now() - startedMs) / 1000,
  }
}

async function readLive(run: ReindexRun, planned: PlannedReindex): Promise<Live> {
  const { alias, live } = planned
  const patience = bePatient(run, alias)
  // Before that a count is not a count.
  await waitUntilSettled(run.typesense, patience)
  return await patience.ask(async () => await findLive(run.typesense, alias, live?.name))
}

/** Fills the generation, proves it, and writes down that it is complete. Answers how many documents were compared. */
async function build(
  run: ReindexRun,
  open: OpenDocuments,
  { name, generation }: Made,
  live: Collection | undefined,
): Promise<number> {
  const { typesense } = run
  const { alias } = open.compiled
  const patience = bePatient(run, alias)
  await fillGeneration(run, open, name)
  await patience.ask(async () => await copyBelongings(typesense, live, name))
  const { compared } = await proveDocuments(run, open, name, { before: live?.documents })
  const complete = writeGeneration({ ...generation, state: 'complete', documents_checksum: open.checksum })
  await patience.ask(async () => await typesense.setMetadata(name, complete))
  return compared
}

/** For undo, where the server can copy and what is free surely suffices. */
async function hasRoomForCopy(
  { typesense }: ReindexRun,
  { session, compiled }: OpenDocuments,
  plain: Collection,
): Promise<boolean> {
  if (!typesense.hasSets || compiled.mapping.keep === 0) return false
  const capacity = await typesense.capacity()
  if (!capacity) return false
  const { documentBytes } = await lookAtRows(session, compiled)
  const expected = [{ alias: compiled.alias, jsonBytes: plain.documents * documentBytes }]
  const { findings, notices } = checkCapacity(capacity, expected)
  return findings.length + notices.length === 0
}

/** What cannot be dropped now is found by its name and metadata later. */
async function dropBuilding(run: ReindexRun, { name, generation }: Made): Promise<void> {
  const { alias } = generation
  try {
    await dropGeneration(run.typesense, name, (found) => found.job === run.job && neverWasLive(found))
  } catch (error) {
    run.reporter.event('search.left', { alias, collection: name, code: toSyncError(error).code }, 'warning')
  }
}

/** The index is fresh by now, whatever becomes of the old ones. */
async function tidy(run: ReindexRun, alias: string, keep: number): Promise<void> {
  try {
    const collections = await cleanUp(run.typesense, alias, keep, { job: run.job })
    if (collections.length > 0) run.reporter.event('search.cleaned', { alias, collections })
  } catch (error) {
    run.reporter.event('search.not-cleaned', { alias, code: toSyncError(error).code }, 'warning')
  }
}
