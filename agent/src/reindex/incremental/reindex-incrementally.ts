import type { CollectionResult } from '@multiboard-sync/shared/search'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { bePatient } from '../be-patient.ts'
import { checkLimits } from '../check-limits.ts'
import { waitForLease } from '../full/move-alias.ts'
import { writeGeneration, type Generation } from '../generation.ts'
import { openDocuments } from '../open-documents.ts'
import type { PlannedReindex } from '../planned-reindex.ts'
import { proveDocuments } from '../prove-documents.ts'
import type { ReindexRun } from '../reindex-run.ts'
import { makeTables, pickDeleted, pickSent, type Difference } from './difference.ts'
import { findBase, isBehindAlias } from './find-base.ts'
import { findDifference } from './find-difference.ts'
import { canDelete, sendDifference } from './send-difference.ts'
import type { FullNeeded, PreviousTables, Work } from './work.ts'

/*
 * Sends to the live collection what differs from the rows, and nothing else.
 *
 * Promises: a difference is found by comparing whole documents, so that one whose joined tables changed is found as well;
 * it is sent only to the collection that is behind the alias, by its real name; afterwards the number of documents is the
 * number of rows, and a sample equals its rows. Where anything stands in the way, the answer is why a full reindex has to be
 * made. Never: writes when the difference is large or too much would vanish; believes a collection that a crash or a refused
 * document has left half changed (its checksum is gone before the first write).
 */

/** Much of it would take longer than building anew beside, and searches would meet a mixture for that long. */
const CHANGED_SHARE = 0.2
/** Of what was sent and of what was deleted, looked at beside the sample of all documents. */
const LOOK_AT_MOST = 300

/**
 * `previous`: what a swap of this job has just replaced. Throws `search-shrunk`, `documents-rejected` (a row without an id),
 * `search-changed`, and what the database, the search server and the lease throw.
 */
export async function reindexIncrementally(
  run: ReindexRun,
  planned: PlannedReindex,
  options: { previous?: PreviousTables } = {},
): Promise<CollectionResult | FullNeeded> {
  const startedAt = performance.now()
  const { alias } = planned
  let obstacle: string | undefined
  await using open = await openDocuments(run, alias, planned.compiled.mapping, {
    purpose: 'reindex',
    prepare: async (session) => {
      obstacle = await makeTables(session)
    },
  })
  if (obstacle !== undefined) return { full: obstacle }
  const patience = bePatient(run, alias)
  const base = await findBase({ run, patience, open }, planned)
  if ('full' in base) return base
  const work: Work = { run, patience, open, ...base }
  checkLimits(open.compiled.mapping, base.collection.documents, open.documents)
  const larger = Math.max(base.collection.documents, open.documents)
  const tooMany = Math.max(1, Math.ceil(larger * CHANGED_SHARE))
  const found = await findDifference(work, { previous: options.previous, atMost: tooMany })
  if ('full' in found) return found
  const { upserts, deletes, withoutId } = found.difference
  if (withoutId > 0) throw nameless(alias)
  if (upserts + deletes >= tooMany) return { full: `at least ${CHANGED_SHARE * 100} % of the documents have changed` }
  const isSame = upserts + deletes === 0
  const refusal = isSame ? undefined : await apply(work, found.difference)
  if (refusal) return refusal
  const proven = await prove(work)
  if ('full' in proven) return proven
  if (!isSame || base.generation.documents_checksum !== open.checksum) {
    await setGeneration(work, { ...base.generation, updated_by: run.job, documents_checksum: open.checksum })
  }
  return {
    alias,
    state: 'fresh',
    mode: 'incremental',
    reason: found.source,
    collection: base.collection.name,
    documents: proven.documents,
    upserted: upserts,
    deleted: deletes,
    compared: proven.compared + found.compared,
    seconds: Math.round(performance.now() - startedAt) / 1000,
  }
}

/** Writes to the live collection. Answers why it has to be replaced, when that cannot be finished. */
async function apply(work: Work, difference: Difference): Promise<FullNeeded | undefined> {
  const { run, collection, generation } = work
  await waitForLease(run)
  if (!(await isBehindAlias(work, generation.alias, collection.name))) {
    return { full: 'the alias was pointed elsewhere in the meantime' }
  }
  if (difference.deletes > 0 && !(await canDelete(work))) {
    return { full: 'documents that have to go bear ids that no request can name' }
  }
  const { documents_checksum: _, ...unproven } = generation
  await setGeneration(work, unproven)
  const { refused } = await sendDifference(work, difference)
  if (refused === 0) return undefined
  return {
    full: `the search server refused ${refused} changed documents: until it is replaced, the live collection holds old and new ones`,
  }
}

async function prove(work: Work): Promise<{ documents: number; compared: number } | FullNeeded> {
  const { run, patience, open, collection, generation } = work
  const sent = await pickSent(open.session, LOOK_AT_MOST)
  const gone = await pickDeleted(open.session, LOOK_AT_MOST)
  try {
    const proven = await proveDocuments(run, open, collection.name, { before: collection.documents, ids: sent })
    for (const id of gone) {
      const stored = await patience.ask(async () => await run.typesense.readDocument(collection.name, id))
      if (stored !== undefined) return { full: 'a document that was deleted is there again' }
    }
    if (await isBehindAlias(work, generation.alias, collection.name)) {
      return { documents: proven.documents, compared: proven.compared + gone.length }
    }
  } catch (error) {
    if (!(error instanceof SyncError) || error.code !== 'search-proof-failed') throw error
    return { full: `it is not equal to the rows afterwards: ${error.message}` }
  }
  throw new SyncError('search-changed', `The alias ${generation.alias} was pointed elsewhere while it was reindexed.`, {
    hint: 'Find out who else sets it, then reindex again.',
  })
}

async function setGeneration({ run, patience, collection }: Work, generation: Generation): Promise<void> {
  const metadata = { ...collection.metadata, ...writeGeneration(generation) }
  await patience.ask(async () => {
    await waitForLease(run)
    await run.typesense.setMetadata(collection.name, metadata)
  })
}

function nameless(alias: string): SyncError {
  return new SyncError('documents-rejected', `Rows of ${alias} have no id, or an empty one.`, {
    hint: 'Give each row an id of its own: the search server would invent one, another one at every reindex.',
  })
}
