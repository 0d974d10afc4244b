import { addressDocuments } from '../../typesense/address-documents.ts'
import type { Typesense } from '../../typesense/typesense.ts'
import { waitForLease } from '../full/move-alias.ts'
import { importDocuments } from '../import-documents.ts'
import { streamDocuments } from '../stream-documents.ts'
import { deletedIds, upsertsSql, type Difference } from './difference.ts'
import type { Work } from './work.ts'

/** A server deletes ten thousand in a second: between two calls a cancel is heard and progress is told. */
const DELETE_PAGE = 1_000

/** Whether there is a request for the deletion of each. */
export async function canDelete({ open }: Pick<Work, 'open'>): Promise<boolean> {
  for await (const ids of deletedIds(open.session, DELETE_PAGE)) {
    if (addressDocuments(ids).unnameable > 0) return false
  }
  return true
}

/**
 * Upserts, then deletes, to the collection by its real name. Sent twice it is the same. Stops after the upserts when a
 * document was refused.
 */
export async function sendDifference(
  { run, patience, open, collection }: Work,
  { upserts, deletes }: Difference,
): Promise<{ refused: number }> {
  const { typesense, reporter, signal } = run
  // An agent that was frozen finds out here that somebody else may be at work by now.
  const leased = async <T>(work: () => Promise<T>): Promise<T> => {
    await waitForLease(run)
    return await work()
  }
  const { session, compiled } = open
  let documents = 0
  const moved = (more: number): void => {
    documents += more
    reporter.progress({ table: compiled.alias, documents, documentsTotal: upserts + deletes })
  }
  moved(0)
  if (upserts > 0) {
    const batches = streamDocuments(session, upsertsSql, { signal })
    const imports: Pick<Typesense, 'importDocuments'> = {
      importDocuments: async (...sent) => await leased(async () => await typesense.importDocuments(...sent)),
    }
    const { refused } = await importDocuments(imports, collection.name, batches, {
      ...patience,
      action: 'upsert',
      onSent: (lines) => {
        patience.onGoing()
        moved(lines)
      },
      // A full reindex follows, which meets and tells them again.
      onRefused: () => undefined,
    })
    if (refused > 0) return { refused }
  }
  if (deletes > 0) {
    for await (const ids of deletedIds(session, DELETE_PAGE)) {
      await patience.ask(async () => await leased(async () => await typesense.deleteDocuments(collection.name, ids)))
      moved(ids.length)
    }
  }
  return { refused: 0 }
}
