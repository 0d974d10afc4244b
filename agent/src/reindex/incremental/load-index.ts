import { pipeline } from 'node:stream/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import copyStreams from 'pg-copy-streams'
import { fromPgError } from '../../postgres/pg-error.ts'
import type { Session } from '../../postgres/session.ts'
import type { Typesense } from '../../typesense/typesense.ts'
import { watchExport } from './watch-export.ts'

export interface IndexToLoad {
  typesense: Typesense
  /** The real name. */
  collection: string
  /** A temporary table with a column for the documents, as SQL: `pg_temp.indexed (document)`. */
  into: string
  /** Told again and again how many documents have come. */
  onDocuments?: (documents: number) => void
  signal: AbortSignal
}

/**
 * Streams all documents of a collection into a temporary table, a row each, within the session's transaction. Nothing is
 * read here: the server parses them. Answers how many there are. After an error everything is as before, and the same
 * transaction can go on. Throws what the export throws, and `load-failed` for a document that PostgreSQL cannot hold.
 */
export async function loadIndex(
  session: Session,
  { typesense, collection, into, onDocuments = () => undefined, signal }: IndexToLoad,
): Promise<number> {
  const doing = `loading the documents of ${collection} into the database ${session.database}`
  await session.run('savepoint multiboard_sync_load')
  try {
    const lines = await typesense.exportDocuments(collection)
    // Neither character stands unescaped in JSON, so that every line is one value (PostgreSQL docs, COPY, "CSV Format").
    const copy = session.client.query(
      copyStreams.from(`copy ${into} from stdin (format csv, quote E'\\x01', delimiter E'\\x02')`),
    )
    await pipeline(lines, watchExport(onDocuments), copy, { signal })
    await session.run('release savepoint multiboard_sync_load')
    return copy.rowCount
  } catch (error) {
    signal.throwIfAborted()
    const known = fromPgError(error, doing)
    if (known.code === 'connection-lost') throw known
    await session.run('rollback to savepoint multiboard_sync_load')
    if (known.code !== 'query-failed' && known.code !== 'constraint-violated') throw known
    throw new SyncError('load-failed', known.message, {
      hint: 'A document of the index holds what PostgreSQL cannot: a NUL, or half a character.',
      cause: error,
    })
  }
}
