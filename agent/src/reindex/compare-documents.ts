import type { Typesense } from '../typesense/typesense.ts'
import { indexedTable, makeTables } from './incremental/difference.ts'
import { loadIndex } from './incremental/load-index.ts'
import type { OpenDocuments } from './open-documents.ts'
import { sameDocument } from './same-document.ts'

/** Pairs in memory at once; only such as are not equal as jsonb. */
const PAGE = 500

interface Comparison {
  /** Rows without a document. */
  missing: number
  /** Documents without a row. */
  extra: number
  /** Documents that are not what their rows say. */
  different: number
}

export const prepareComparison = makeTables

/**
 * Holds every document of a collection against its row: exported into a temporary table, joined by SQL. `open` was opened
 * with `prepareComparison`. Throws what the export and the session throw.
 */
export async function compareDocuments(
  { session, compiled }: OpenDocuments,
  typesense: Typesense,
  collection: string,
  signal: AbortSignal,
): Promise<Comparison> {
  const into = `${indexedTable.name} ${indexedTable.columns}`
  await loadIndex(session, { typesense, collection, into, signal })
  await session.run(`analyze ${indexedTable.name}`)
  const joined = `(${compiled.documentsSql}) l full join ${indexedTable.name} i on l.id collate "C" = i.id`
  const [alone] = await session.query<{ missing: number; extra: number }>(
    `select (count(*) filter (where i.document is null))::float8 as missing,
            (count(*) filter (where l.document is null))::float8 as extra
     from ${joined}`,
  )
  await session.run(
    `declare multiboard_sync_pairs no scroll cursor for
     select l.document as row, i.document::text as stored from ${joined} where l.document::jsonb <> i.document`,
  )
  let different = 0
  for (;;) {
    const pairs = await session.query<{ row: string; stored: string }>(`fetch ${PAGE} from multiboard_sync_pairs`)
    if (pairs.length === 0) break
    different += pairs.filter(({ row, stored }) => !sameDocument(row, stored)).length
  }
  await session.run('close multiboard_sync_pairs')
  return { missing: alone?.missing ?? 0, extra: alone?.extra ?? 0, different }
}
