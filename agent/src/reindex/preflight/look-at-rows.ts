import type { Session } from '../../postgres/session.ts'
import type { CompiledMapping } from '../compiled-mapping.ts'

/** What the rows would make now. */
export interface RowsSeen {
  documents: number
  /** Of a document's JSON, on average over a sample. */
  documentBytes: number
}

/** Enough to tell a part from a novel; a whole table would cost as much as its export. */
const SAMPLE_ROWS = 1000

/** Counts the documents and measures some. In the session's own snapshot. */
export async function lookAtRows(session: Session, compiled: CompiledMapping): Promise<RowsSeen> {
  const { documentsSql } = compiled
  const [counted] = await session.query<{ documents: number }>(
    `select count(*)::float8 as documents from (${documentsSql}) as d`,
  )
  const [measured] = await session.query<{ bytes: number | null }>(
    `select avg(octet_length(s.document))::float8 as bytes from (select d.document from (${documentsSql}) as d limit ${SAMPLE_ROWS}) as s`,
  )
  return { documents: counted?.documents ?? 0, documentBytes: measured?.bytes ?? 0 }
}
