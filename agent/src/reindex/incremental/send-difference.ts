import { addressDocuments } from '../../typesense/address-documents.ts'
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
  const { session, compiled } = open
  let documents = 0
  const moved = (more: number): void => {
    documents += more
    reporter.progress({ table: compiled.alias, documents, documentsTotal: upserts + deletes })
  }
  moved(0)
  if (upserts > 0) {
    const batches = streamDocuments(session, upsertsSql, { signal })
    const { refused } = await importDocuments(typesense, collection.name, batches, {
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
      await patience.ask(async () => await typesense.deleteDocuments(collection.name, ids))
      moved(ids.length)
    }
  }
  return { refused: 0 }
}
