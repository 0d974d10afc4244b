import type { Session } from '../../postgres/session.ts'
import { sameDocument } from '../same-document.ts'

/*
 * The documents that differ between the rows and the index, in a temporary table of the session: what is to be sent, and
 * what is to be deleted. Only the server holds them.
 */

const CHANGES = 'pg_temp.multiboard_sync_changes'
const INDEXED = 'pg_temp.multiboard_sync_indexed'
/** In memory at once. */
const PAIRS = 100

/** A text column of documents, and a second one of ids, filled with the lines of an export. */
export const indexedTable = { name: INDEXED, columns: '(document)' }

/**
 * Makes the empty tables, before the transaction that only reads. Answers why that cannot be, where it cannot.
 * They go with the session.
 */
export async function makeTables(session: Session): Promise<string | undefined> {
  const [may] = await session.query<{ temp: boolean; standby: boolean }>(
    `select has_database_privilege(current_database(), 'temp') as temp, pg_is_in_recovery() as standby`,
  )
  if (may?.standby) return 'the database is a standby, where no temporary table can be made'
  if (!may?.temp) return 'the role may make no temporary tables in the database'
  await session.run(
    // In a transaction of its own, because the session may be one that only reads.
    `begin read write;
     create temporary table multiboard_sync_changes (id text collate "C", document text collate "C");
     create temporary table multiboard_sync_indexed (
       document jsonb not null, id text collate "C" generated always as (document ->> 'id') stored
     );
     commit`,
  )
  return undefined
}

/** How many differ; upserts and deletes. */
export interface Difference {
  upserts: number
  deletes: number
  /** Rows that have become documents without an id: the search server would invent one. */
  withoutId: number
}

/** Between the rows as they were and as they are. Stops at `atMost` differences. */
export async function compareWithPrevious(
  session: Session,
  documentsSql: string,
  previousSql: string,
  atMost: number,
): Promise<Difference> {
  await fill(
    session,
    // A collation of the columns that makes different texts equal must have no say here.
    `select coalesce(l.id, p.id) as id, l.document
     from (${documentsSql}) l full join (${previousSql}) p on l.id collate "C" = p.id collate "C"
     where l.document collate "C" is distinct from p.document collate "C"`,
    atMost,
  )
  return await count(session)
}

/** Between the rows and what was exported from the index. Stops at `atMost` differences, or some more. */
export async function compareWithIndexed(session: Session, documentsSql: string, atMost: number): Promise<Difference> {
  await session.run(
    `delete from ${CHANGES};
     declare multiboard_sync_pairs no scroll cursor for
     select coalesce(l.id, i.id) as id, l.document as row, i.document::text as stored
     from (${documentsSql}) l full join ${INDEXED} i on l.id collate "C" = i.id
     where l.document::jsonb is distinct from i.document`,
  )
  for (let found = 0; found < atMost;) {
    const pairs = await session.query<Pair>(`fetch ${PAIRS} from multiboard_sync_pairs`)
    if (pairs.length === 0) break
    const different = pairs.filter(isDifferent)
    found += different.length
    await session.query(`insert into ${CHANGES} select * from unnest($1::text[], $2::text[])`, [
      different.map(({ id }) => id),
      different.map(({ row }) => row),
    ])
  }
  await session.run(`close multiboard_sync_pairs; analyze ${CHANGES}`)
  return await count(session)
}

interface Pair {
  id: string | null
  row: string | null
  stored: string | null
}

/** False for what differs only in the digits that the same number is printed with: it would be sent at every reindex. */
function isDifferent({ row, stored }: Pair): boolean {
  return row === null || stored === null || !sameDocument(row, stored)
}

async function fill(session: Session, select: string, atMost: number): Promise<void> {
  await session.run(`delete from ${CHANGES}; insert into ${CHANGES} ${select} limit ${atMost}; analyze ${CHANGES}`)
}

async function count(session: Session): Promise<Difference> {
  const [row] = await session.query<Difference>(
    `select count(document)::float8 as upserts, (count(*) - count(document))::float8 as deletes,
            (count(*) filter (where coalesce(id, '') = ''))::float8 as "withoutId"
     from ${CHANGES}`,
  )
  return row ?? { upserts: 0, deletes: 0, withoutId: 0 }
}

/** A select of one column, to be streamed. */
export const upsertsSql = `select document from ${CHANGES} where document is not null`

/** Pages of the ids to delete. Within the session's transaction. */
export async function* deletedIds(session: Session, pageSize: number): AsyncGenerator<string[], void, undefined> {
  await session.run(
    `declare multiboard_sync_deletes no scroll cursor for select id from ${CHANGES} where document is null`,
  )
  for (;;) {
    const rows = await session.query<{ id: string }>(`fetch ${pageSize} from multiboard_sync_deletes`)
    if (rows.length === 0) break
    yield rows.map(({ id }) => id)
  }
  await session.run('close multiboard_sync_deletes')
}

/** Ids of documents that were sent, in no order. */
export async function pickSent(session: Session, atMost: number): Promise<string[]> {
  const rows = await session.query<{ id: string }>(
    `select id from ${CHANGES} where document is not null order by random() limit $1`,
    [atMost],
  )
  return rows.map(({ id }) => id)
}

/** Ids of documents that were deleted, in no order. */
export async function pickDeleted(session: Session, atMost: number): Promise<string[]> {
  const rows = await session.query<{ id: string }>(
    `select id from ${CHANGES} where document is null order by random() limit $1`,
    [atMost],
  )
  return rows.map(({ id }) => id)
}

/** Documents that are as they were, in no order. `documents` is how many there are about. */
export async function pickUnchanged(
  session: Session,
  documentsSql: string,
  { documents, atMost }: { documents: number; atMost: number },
): Promise<{ id: string; document: string }[]> {
  // A few more than asked for are picked by chance, so that not all have to be made and sorted.
  const share = documents > 0 ? Math.min(1, (3 * atMost + 100) / documents) : 1
  return await session.query(
    `select d.id, d.document from (${documentsSql}) d
     where random() < $1 and not exists (select from ${CHANGES} c where c.id = d.id collate "C")
     order by random() limit $2`,
    [share, atMost],
  )
}
