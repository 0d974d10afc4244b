import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Collection, Typesense } from '../../typesense/typesense.ts'
import { bePatient } from '../be-patient.ts'
import { readGeneration, writeGeneration } from '../generation.ts'
import type { ReindexRun } from '../reindex-run.ts'
import { refuseOtherLinks } from './carry.ts'
import { findLive } from './find-live.ts'

/** As the swap asks before its exchange: long enough for a few requests. */
const MIN_LEASE_MS = 5_000
/** A control plane that is being restarted is back by then. */
const LEASE_WAIT_MS = 180_000

export interface Move {
  alias: string
  /** What was live when the work began. */
  from: Collection | undefined
  /** Complete, and proven. */
  to: string
  documents: number
  /** Told right before the request after which nobody knows, until it is answered, where the alias points. */
  moving: () => void
}

/** Waits for the lease; the answer must be used at once. */
export async function waitForLease(run: ReindexRun): Promise<void> {
  await run.lease.waitUntilValid(MIN_LEASE_MS, LEASE_WAIT_MS, run.signal)
}

/**
 * Points the alias to a proven generation, and searches through it. What was live is marked first: whatever was live once can
 * be told by that from what never was, also after a crash. Throws `search-changed`, `search-proof-failed`, `lease-lost`.
 */
export async function moveAlias(run: ReindexRun, move: Move): Promise<void> {
  const { alias, from, to } = move
  const { typesense } = run
  const patience = bePatient(run, alias)
  await waitForLease(run)
  const { collection } = await patience.ask(async () => await findLive(typesense, alias, from?.name))
  refuseOtherLinks(from, collection)
  await patience.ask(async () => await markReplaced(run, alias, collection))
  await patience.ask(async () => await refuseMissing(typesense, to, move.documents))

  await patience.ask(async () => {
    const target = (await typesense.listAliases()).get(alias)
    // An earlier attempt whose answer was lost.
    if (target === to) return
    if (target !== from?.name) await findLive(typesense, alias, from?.name)
    await waitForLease(run)
    move.moving()
    await typesense.putAlias(alias, to)
  })
  run.reporter.event('search.alias-set', { alias, collection: to, ...(from ? { previous: from.name } : {}) })
  try {
    await patience.ask(async () => await refuseMissing(typesense, alias, move.documents))
  } catch (error) {
    if (from && error instanceof SyncError && error.code === 'search-proof-failed') {
      await typesense.putAlias(alias, from.name)
      run.reporter.event('search.alias-set', { alias, collection: from.name, previous: to })
    }
    throw error
  }
}

/** Before the alias is moved away: afterwards a crash could leave a generation of which nobody knows that it was live. */
async function markReplaced(run: ReindexRun, alias: string, live: Collection | undefined): Promise<void> {
  const generation = live && readGeneration(live)
  // Another alias's is live there still.
  if (generation?.alias !== alias || !live) return
  await run.typesense.setMetadata(live.name, {
    ...live.metadata,
    ...writeGeneration({ ...generation, replaced_by: run.job }),
  })
}

/** Searches for everything. More may be found than there is, a known fault of older servers; fewer must not. */
export async function refuseMissing(typesense: Typesense, name: string, documents: number): Promise<void> {
  const found = await typesense.searchAll(name)
  if (found >= documents) return
  throw new SyncError('search-proof-failed', `A search through ${name} finds ${found} of ${documents} documents.`, {
    hint: 'Look at the search server: its collection holds the documents and does not find them.',
  })
}
