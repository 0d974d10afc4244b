import { SyncError } from '@multiboard-sync/shared/sync-error'
import { bePatient } from '../be-patient.ts'
import type { Batch } from '../cut-batches.ts'
import { importDocuments } from '../import-documents.ts'
import { keepAwake } from '../keep-awake.ts'
import type { OpenDocuments } from '../open-documents.ts'
import { collectRefused } from '../refused-documents.ts'
import type { ReindexRun } from '../reindex-run.ts'
import { streamDocuments } from '../stream-documents.ts'

/**
 * Streams all documents of the snapshot into an empty collection. Throws `documents-rejected` with the counts when one was
 * refused, after their ids were written to the bucket; otherwise what the import and the session throw.
 */
export async function fillGeneration(run: ReindexRun, open: OpenDocuments, collection: string): Promise<void> {
  const { session, compiled, documents: documentsTotal } = open
  const { alias } = compiled
  const patience = bePatient(run, alias)
  const refused = collectRefused(run, alias)
  let documents = 0
  run.reporter.progress({ table: alias, documents, documentsTotal })
  const rows = streamDocuments(session, `select d.document from (${compiled.documentsSql}) d`, { signal: run.signal })
  // The last batches may have to wait for the search server long after the last row.
  await using awake = new AsyncDisposableStack()
  const batches = async function* (): AsyncGenerator<Batch, void, undefined> {
    yield* rows
    awake.use(keepAwake(session))
  }
  const { sent } = await importDocuments(run.typesense, collection, batches(), {
    ...patience,
    action: 'create',
    onSent: (lines) => {
      patience.onGoing()
      documents += lines
      run.reporter.progress({ table: alias, documents, documentsTotal })
    },
    onRefused: refused.add,
  })
  if (refused.count > 0) throw await refused.toError()
  if (sent === documentsTotal) return
  throw new SyncError('search-proof-failed', `${sent} documents were sent, and there are ${documentsTotal} rows.`, {
    hint: 'The mapping answers other rows each time it is asked: look for random() or clock_timestamp() in it.',
  })
}
