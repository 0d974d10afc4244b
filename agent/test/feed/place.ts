import { createDatabase, templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import type pg from 'pg'
import type { Writable } from 'node:stream'
import type { ArchiveWriter } from '../../src/archive/archive-writer.ts'
import { openExport, type OpenExport } from '../../src/export/open-export.ts'
import type { FeedPiece, PourOptions } from '../../src/feed/feed.ts'
import { openLanes, type Lane, type Lanes } from '../../src/lanes/lanes.ts'
import { createTrace, type Trace } from '../../src/lanes/trace.ts'
import { readSource, type AskedSource } from '../../src/plan/read-source.ts'
import { copyIn, type CopyIn } from '../../src/postgres/copy-in.ts'
import { openSource, type Source } from '../../src/postgres/open-source.ts'
import { createReporter } from '../../src/report/reporter.ts'
import { deadline } from '../archive/setup.ts'

/** A database with a table of several slices, and what pours it. */

/** 8,600 rows of 3.5 kB, one on each page: two slices where the server knows ranges, and each more than one part of an upload. */
export const TABLES_SQL = `
  create table public."Wide" (id int primary key, word text, twice int generated always as (id * 2) stored, filler text)
    with (fillfactor = 50);
  alter table public."Wide" alter filler set storage plain;
  create table public.small (id int primary key, name text);
  create table public.none ();
  create table public.empty (x text);`

const ROWS_SQL = `
  insert into public."Wide" (id, word, filler)
  select n, case n % 3 when 0 then null when 1 then '' else E'tab\\t\\\\.' end, p.text
  from generate_series(1, 8600) n
  join (select m, string_agg(md5(m::text || '-' || k::text), '') as text
        from generate_series(0, 199) m, generate_series(1, 109) k group by m) p on p.m = n * 7919 % 200;
  delete from public."Wide" where id % 1000 = 1;
  update public."Wide" set word = 'moved' where id % 1000 = 2;
  insert into public.small select n, 'name ' || n from generate_series(1, 100) n;
  insert into public.none select from generate_series(1, 3);`

export const ROWS = { Wide: 8591, empty: 0, none: 3, small: 100 }

export async function makeWide(): Promise<TestDatabase> {
  const template = await templateDatabase('feed wide', async (database) => {
    const client = await database.client()
    await client.query(TABLES_SQL + ROWS_SQL)
    await client.end()
  })
  return await createDatabase({ template })
}

export interface Feeding extends AsyncDisposable {
  source: Source
  asked: AskedSource
  lanes: Lanes
  trace: Trace
  opened: OpenExport
  /** One piece, on a lane. */
  pour(piece: FeedPiece, sink?: Writable, options?: Partial<PourOptions>): Promise<{ rows: number }>
  piecesOf(table: string): FeedPiece[]
}

export async function openFeeding(
  url: string,
  archive: ArchiveWriter,
  { count = 2, checksums = true, signal = deadline(60_000) } = {},
): Promise<Feeding> {
  await using made = new AsyncDisposableStack()
  const source = made.use(await openSource({ name: 'production', url, viaProxy: false }, 'test', signal))
  const asked = await readSource(source, undefined, undefined, signal)
  const trace = createTrace()
  const lanes = made.use(openLanes({ count, signal, trace }))
  const opened = await openExport(asked, archive, { lanes, reporter: createReporter([]), checksums })
  const owned = made.move()
  return {
    source,
    asked,
    lanes,
    trace,
    opened,
    pour: async (piece, sink, options) => {
      const settled = { signal: lanes.signal, onBytes: () => undefined, ...options }
      // Caught inside of the task, as one does who tries again: the lanes go on.
      const work = async (lane: Lane): Promise<{ rows: number } | { error: unknown }> =>
        await opened.copy(piece, lane, settled, sink).catch((error: unknown) => ({ error }))
      const result = await lanes.run({ kind: 'copy', name: piece.table.name, urgency: 1e9 }, work)
      if ('error' in result) throw result.error
      return result
    },
    piecesOf: (table) => opened.pieces.filter((piece) => piece.table.name === table),
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

export function copyInto(client: pg.Client, table: string): CopyIn {
  return copyIn(client, `copy ${table} from stdin`)
}
