import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../../postgres/session.ts'
import { sameDocument } from '../same-document.ts'
import { sumDocuments, type DocumentsSum } from '../sum-documents.ts'
import { compareWithIndexed, compareWithPrevious, indexedTable, pickUnchanged, type Difference } from './difference.ts'
import { loadIndex } from './load-index.ts'
import type { FullNeeded, PreviousTables, Work } from './work.ts'

interface Found {
  difference: Difference
  /** Where it was found, for people. */
  source: string
  /** Documents of the index that were compared with their rows on the way. */
  compared: number
}

interface Question {
  previous: PreviousTables | undefined
  atMost: number
}

/**
 * From the previous tables where the index is proven to hold what they say: without reading the index. Else from the index
 * itself, which is exported once. Stops at `atMost` differences.
 */
export async function findDifference(work: Work, question: Question): Promise<Found | FullNeeded> {
  return (await fromPrevious(work, question)) ?? (await fromIndex(work, question))
}

/**
 * Undefined where the previous tables prove nothing: the index must hold as many documents as they make, their sum must be
 * the one of when the index was last proven (an equal number does not tell a row that somebody changed since), and a
 * sample of what did not change must be in the index as it is in the rows (nobody else wrote to the index).
 */
async function fromPrevious(work: Work, { previous, atMost }: Question): Promise<Found | undefined> {
  const { collection, generation } = work
  const { session, compiled, documents } = work.open
  if (!previous || generation.documents_checksum === undefined) return undefined
  const previousSql = compiled.documentsSqlOver?.(previous.schemas, previous.tables)
  if (previousSql === undefined) return undefined
  const before = await trySum(session, previousSql)
  if (before?.documents !== collection.documents || before.checksum !== generation.documents_checksum) return undefined
  const difference = await compareWithPrevious(session, compiled.documentsSql, previousSql, atMost)
  const sample = await pickUnchanged(session, compiled.documentsSql, {
    documents,
    atMost: compiled.mapping.verify.sample,
  })
  for (const { id, document } of sample) {
    const stored = await work.patience.ask(async () => await work.run.typesense.readDocument(collection.name, id))
    if (stored === undefined || !sameDocument(document, stored)) return undefined
  }
  return { difference, source: 'compared with the tables that were replaced', compared: sample.length }
}

/** Undefined where the previous tables are not such as the live ones: they may lack a column, or be gone by now. */
async function trySum(session: Session, previousSql: string): Promise<DocumentsSum | undefined> {
  await session.run('savepoint multiboard_sync_previous')
  try {
    const sum = await sumDocuments(session, previousSql)
    await session.run('release savepoint multiboard_sync_previous')
    return sum
  } catch (error) {
    if (!(error instanceof SyncError) || (error.code !== 'query-failed' && error.code !== 'permission-denied'))
      throw error
    await session.run('rollback to savepoint multiboard_sync_previous')
    return undefined
  }
}

async function fromIndex(work: Work, { atMost }: Question): Promise<Found | FullNeeded> {
  const { collection } = work
  const { session, compiled, documents } = work.open
  try {
    const loaded = await load(work)
    if (loaded !== collection.documents) {
      return { full: `the index says that it holds ${collection.documents} documents, and exported ${loaded}` }
    }
    await session.run(`analyze ${indexedTable.name}`)
    const difference = await compareWithIndexed(session, compiled.documentsSql, atMost)
    const compared = Math.max(0, documents - difference.upserts)
    return { difference, source: 'compared with all documents of the index', compared }
  } catch (error) {
    if (!(error instanceof SyncError) || (error.code !== 'load-failed' && error.code !== 'disk-full')) throw error
    return { full: `the index could not be compared: ${error.message}` }
  }
}

/** Waits for the search server, never for a database that is gone with its snapshot. */
async function load({ run, patience, open, collection }: Work): Promise<number> {
  const { typesense, reporter, signal } = run
  const into = `${indexedTable.name} ${indexedTable.columns}`
  const loaded = await patience.ask(async () => {
    try {
      return await loadIndex(open.session, {
        typesense,
        collection: collection.name,
        into,
        onDocuments: (documents) => reporter.progress({ documents, documentsTotal: collection.documents }),
        signal,
      })
    } catch (error) {
      if (!(error instanceof SyncError) || error.code.startsWith('search-')) throw error
      return error
    }
  })
  if (loaded instanceof SyncError) throw loaded
  return loaded
}
