import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import type { Collection, Typesense } from '../../typesense/typesense.ts'
import { bePatient } from '../be-patient.ts'
import { generationName, readGeneration, writeGeneration, type Generation } from '../generation.ts'
import type { ReindexRun } from '../reindex-run.ts'
import { refuseOtherLinks } from './carry.ts'
import { findLive } from './find-live.ts'
import { refuseMissing, waitForLease, type Move } from './move-alias.ts'

/*
 * The first generation of an alias whose name a plain collection bears. The server has no way to exchange the two at once:
 * the plain one is dropped, then the alias is set, and searches in between find nothing.
 *
 * Promises: nothing is dropped before its successor is proven and all that can be asked beforehand was asked; the alias
 * follows at once, and whatever stands in the way of that is tried again; a crash in between is written down, and finished
 * by settle-generations. Where there is room, a copy of the plain one is kept as a generation, for undo.
 */

/** Searches find nothing in the meantime: nothing is worth giving up for. */
const SET_ALIAS_FOR_MS = 3_600_000
/** Metadata wants the hash of a mapping; what others have filled has none. */
const NO_MAPPING = 'adopted'

export interface Adoption extends Move {
  /** What was live, a plain collection of the alias's name. */
  from: Collection
  generation: Generation
  /** A copy of the plain one is kept for undo. */
  keepsCopy: boolean
}

/** Throws `search-changed`, `search-proof-failed`, `lease-lost` and what the server's door throws. */
export async function adopt(run: ReindexRun, adoption: Adoption): Promise<void> {
  const { alias, from, to } = adoption
  const { typesense } = run
  const patience = bePatient(run, alias)
  await patience.ask(async () => await refuseMissing(typesense, to, adoption.documents))
  if (adoption.keepsCopy) await keepCopy(run, adoption)
  await patience.ask(async () => await refuseUnwell(typesense))
  await run.journal.record('adopting', { alias, collection: to, plain: from.name })

  await patience.ask(async () => {
    await waitForLease(run)
    // Gone already when the answer to an earlier attempt was lost.
    if (await typesense.findCollection(from.name)) {
      const { collection } = await findLive(typesense, alias, from.name)
      refuseOtherLinks(from, collection)
    }
    adoption.moving()
    await typesense.dropCollection(from.name)
  })
  await patience.ask(async () => await insist(typesense.putAlias(alias, to)), run.giveUpAfterMs ?? SET_ALIAS_FOR_MS)
  run.reporter.event('search.alias-set', { alias, collection: to, previous: from.name })
  await patience.ask(async () => await refuseMissing(typesense, alias, adoption.documents))
}

/** In the journal first, like any generation: a copy that was cut short is taken away by the next boot. */
async function keepCopy(run: ReindexRun, { alias, from, generation }: Adoption): Promise<void> {
  const { typesense, job } = run
  const patience = bePatient(run, alias)
  // Names count in seconds, and the new generation may be younger than one.
  const at = new Date(Math.max(Date.now(), Date.parse(generation.made_at) + 1000))
  const name = generationName(alias, at, job)
  await run.journal.record('generation-made', { alias, collection: name })
  const copied: Generation = {
    alias,
    job,
    made_at: at.toISOString(),
    mapping_sha256: NO_MAPPING,
    state: 'complete',
    replaced_by: job,
  }
  await patience.ask(async () => {
    if (!(await typesense.findCollection(name))) await typesense.copyCollection(from.name, name)
    await typesense.setMetadata(name, { ...from.metadata, ...writeGeneration(copied) })
  })
  const copy = await patience.ask(async () => await typesense.findCollection(name))
  if (copy && readGeneration(copy) && copy.documents === from.documents) return
  throw new SyncError('search-proof-failed', `The copy of ${from.name} does not hold what that does.`, {
    hint: 'Ask for the reindex again, or set keep: 0 for this alias to do without a copy.',
    retryable: true,
  })
}

/** A server without memory or disk takes no alias: it must be asked before the plain collection is gone. */
async function refuseUnwell(typesense: Typesense): Promise<void> {
  const { ok, resourceError } = await typesense.health()
  if (ok && resourceError === undefined) return
  if (resourceError !== undefined) {
    throw new SyncError('search-full', `The search server takes no writes: ${resourceError}.`, {
      hint: 'Give it more room, then ask for the reindex again.',
    })
  }
  throw new SyncError('search-unreachable', 'The search server is not ready.', {
    hint: 'Wait for it.',
    retryable: true,
  })
}

/** Every failure is one to try again after. */
async function insist(request: Promise<void>): Promise<void> {
  try {
    await request
  } catch (error) {
    const { code, message, hint } = toSyncError(error)
    throw new SyncError(code, message, { hint, retryable: true, cause: error })
  }
}
