import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Session } from '../postgres/session.ts'
import { addressDocument } from '../typesense/address-documents.ts'
import { waitUntilSettled } from '../typesense/wait-until-settled.ts'
import { bePatient, type Patience } from './be-patient.ts'
import { checkLimits } from './check-limits.ts'
import { keepAwake } from './keep-awake.ts'
import type { OpenDocuments } from './open-documents.ts'
import type { ReindexRun } from './reindex-run.ts'
import { sameDocument } from './same-document.ts'

/** Documents that are read back and compared at once: in memory, twice. */
const AT_ONCE = 100
/** Requests in flight: enough to hide the latency, too few to disturb searches. */
const READERS = 4

interface Proof {
  documents: number
  /** Read back and found equal to their rows. */
  compared: number
}

interface ProofOptions {
  /** Documents that were live before; undefined where there was no index. */
  before: number | undefined
  /** Compared as well, beside the random sample. */
  ids?: string[]
}

/**
 * Holds a collection against the rows of the snapshot: nothing queued, as many documents as rows, a random sample read back
 * and compared. Throws `search-proof-failed`, `search-shrunk`, `search-changed`; says how many, never which.
 */
export async function proveDocuments(
  run: ReindexRun,
  open: OpenDocuments,
  collection: string,
  { before, ids = [] }: ProofOptions,
): Promise<Proof> {
  const { session, compiled, documents } = open
  const patience = bePatient(run, compiled.alias)
  {
    await using _ = keepAwake(session)
    await waitUntilSettled(run.typesense, patience)
  }
  patience.onGoing()
  const found = await patience.ask(async () => await run.typesense.findCollection(collection))
  if (!found) {
    throw new SyncError('search-changed', `The collection ${collection} was dropped while it was being proven.`, {
      hint: 'Find out who drops collections of the search server, then ask for the reindex again.',
    })
  }
  if (found.documents !== documents) {
    const message = `${collection} holds ${found.documents} documents, and there are ${documents} rows.`
    throw new SyncError('search-proof-failed', message, {
      hint: 'Check that the ids are unique and that nobody else writes to this collection, then ask for the reindex again.',
    })
  }
  checkLimits(compiled.mapping, before, documents)
  let compared = 0
  for await (const page of pages(session, compiled.documentsSql, compiled.mapping.verify.sample, ids)) {
    // What no request can name cannot be read back.
    const rows = page.filter(({ id }) => addressDocument(id) !== undefined)
    await compareWithRows(run, session, { collection, rows, patience })
    compared += rows.length
  }
  return { documents, compared }
}

/** What a row makes; no document where an id has no row. */
interface Row {
  id: string
  document: string | null
}

/** Rows drawn at random, then those of the ids. */
async function* pages(
  session: Session,
  documentsSql: string,
  sample: number,
  ids: string[],
): AsyncGenerator<Row[], void, undefined> {
  if (sample > 0) {
    // PostgreSQL makes the documents after it has chosen, a page at a time.
    await session.run(
      `declare multiboard_sync_sample no scroll cursor for
       select d.id, d.document from (${documentsSql}) d order by random() limit ${sample}`,
    )
    for (;;) {
      const rows = await session.query<Row>(`fetch ${AT_ONCE} from multiboard_sync_sample`)
      if (rows.length === 0) break
      yield rows
    }
    await session.run('close multiboard_sync_sample')
  }
  for (let at = 0; at < ids.length; at += AT_ONCE) {
    yield await session.query<Row>(
      `with chosen as materialized (
         -- An inner join first: below an outer one, the documents of all rows would be made.
         select d.id, d.document from unnest($1::text[]) as w (id) join (${documentsSql}) d on d.id = w.id
       )
       select w.id, c.document from unnest($1::text[]) as w (id) left join chosen c on c.id = w.id`,
      [ids.slice(at, at + AT_ONCE)],
    )
  }
}

async function compareWithRows(
  run: ReindexRun,
  session: Session,
  { collection, rows, patience }: { collection: string; rows: Row[]; patience: Patience },
): Promise<void> {
  const ids = rows.map(({ id }) => id)
  const stored = await readDocuments(run, { collection, ids, patience })
  // As jsonb in SQL: numbers beyond 2^53 stay what they are. What is not equal there may still be the same number, printed
  // with other digits.
  const unequal = await session.query<{ row: string | null; stored: string | null }>(
    `select p.row, p.stored from unnest($1::text[], $2::text[]) as p (row, stored)
     where p.row is null or p.stored is null or p.row::jsonb <> p.stored::jsonb`,
    [rows.map(({ document }) => document), stored],
  )
  const different = unequal.filter(({ row, stored: text }) => row === null || text === null || !sameDocument(row, text))
  if (different.length === 0) return
  const missing = different.filter(({ stored: text }) => text === null).length
  throw new SyncError(
    'search-proof-failed',
    `Of ${ids.length} documents read back from ${collection}, ${different.length} are not what their rows say; ${missing} are missing.`,
    {
      hint: 'Ask for the reindex again. If it fails again, report it as a bug, with the types of the mapped columns.',
    },
  )
}

async function readDocuments(
  run: ReindexRun,
  { collection, ids, patience }: { collection: string; ids: string[]; patience: Patience },
): Promise<(string | null)[]> {
  const texts: (string | null)[] = Array.from({ length: ids.length }, () => null)
  const todo = ids.entries()
  const reader = async (): Promise<void> => {
    // One iterator for all readers: each takes the next id that nobody has taken.
    for (const [index, id] of todo) {
      texts[index] = (await patience.ask(async () => await run.typesense.readDocument(collection, id))) ?? null
    }
  }
  await Promise.all(Array.from({ length: READERS }, reader))
  return texts
}
