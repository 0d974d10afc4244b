import type { Session } from '../postgres/session.ts'

/** What a select of documents answers as a whole. Equal sums mean equal documents. */
export interface DocumentsSum {
  documents: number
  /** Of the texts, in any order: the sum of their 64-bit hashes. */
  checksum: string
}

/**
 * Counts the documents of a compiled mapping and sums their hashes, in one pass of the server. A generation keeps the sum of
 * the documents that it was proven to hold: an equal count alone does not tell a row that was changed since.
 */
export async function sumDocuments(session: Session, documentsSql: string): Promise<DocumentsSum> {
  const [row] = await session.query<DocumentsSum>(
    // A collation of the columns that makes different texts equal must have no say here.
    `select count(*)::float8 as documents,
            coalesce(sum(hashtextextended(d.document collate "C", 0)::numeric), 0)::text as checksum
     from (${documentsSql}) d`,
  )
  return row ?? { documents: 0, checksum: '0' }
}
