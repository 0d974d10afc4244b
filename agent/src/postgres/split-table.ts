import type { TableInfo } from './catalog.ts'
import type { Session } from './session.ts'

/*
 * Cuts a table into slices of roughly equal size by the place of its rows (ctid), so that several connections read one
 * table at once, each its own pages. Under one snapshot each row has one place, so each row is in exactly one slice: the
 * first has no lower bound and the last no upper one, whatever the size of the file is by then.
 */

export interface Slice {
  /** From 0. */
  n: number
  /** An estimate: its share of the table's bytes. */
  bytes: number
  /** SQL; undefined: the whole table. */
  where: string | undefined
}

/** How tables may be cut in one database. */
export interface Cutting {
  /** Tables that can be read by ranges of ctid. */
  oids: ReadonlySet<number>
  pageBytes: number
}

/** Each slice is an object in the store, with three requests to write it and two to read it: not for less than this. */
const MIN_SLICE_BYTES = 32 * 1024 * 1024
/** What a broken connection costs is a slice. */
const MAX_SLICE_BYTES = 1024 * 1024 * 1024
/** Of a big table: so many that its last slice ends when the others do, and a lane is soon free for its longest index. */
const SLICES_PER_LANE = 8
/** Where nearly all bytes lie in TOAST, few pages hold many rows. */
const MIN_SLICE_PAGES = 64
/** TID range scans came with PostgreSQL 14; before it each slice would read the whole table. */
const TID_RANGES_SINCE = 140_000

/** Which of the tables can be cut. Other access methods than heap may give a ctid without an order. */
export async function readCutting(session: Session, tables: TableInfo[]): Promise<Cutting> {
  const big = tables.filter((table) => table.isLeaf && table.tableBytes >= 2 * MIN_SLICE_BYTES).map(({ oid }) => oid)
  if (big.length === 0 || session.serverVersion < TID_RANGES_SINCE) return { oids: new Set(), pageBytes: 8192 }
  const rows = await session.query<{ oid: number; pageBytes: number }>(
    `select c.oid::int8::float8 as oid, current_setting('block_size')::int as "pageBytes"
     from pg_catalog.pg_class c join pg_catalog.pg_am a on a.oid = c.relam
     where c.oid = any ($1::oid[]) and a.amname = 'heap'`,
    [big],
  )
  return { oids: new Set(rows.map(({ oid }) => oid)), pageBytes: rows[0]?.pageBytes ?? 8192 }
}

/** In the order of the table's pages; one slice where cutting is not possible or not worth it. */
export function splitTable(
  table: Pick<TableInfo, 'oid' | 'heapBytes' | 'tableBytes' | 'columns'>,
  lanes: number,
  { oids, pageBytes }: Cutting,
): Slice[] {
  const pages = Math.floor(table.heapBytes / pageBytes)
  const count = oids.has(table.oid) ? Math.min(wantedSlices(table.tableBytes, lanes), pagesAllow(pages)) : 1
  if (count <= 1 || table.columns.length === 0) return [{ n: 0, bytes: table.tableBytes, where: undefined }]
  const bounds = Array.from({ length: count + 1 }, (_, n) => Math.round((pages * n) / count))
  return Array.from({ length: count }, (_, n) => ({
    n,
    bytes: Math.round(table.tableBytes / count),
    where: [
      ...(n > 0 ? [`ctid >= '(${bounds[n]},0)'::pg_catalog.tid`] : []),
      ...(n < count - 1 ? [`ctid < '(${bounds[n + 1]},0)'::pg_catalog.tid`] : []),
    ].join(' and '),
  }))
}

function wantedSlices(bytes: number, lanes: number): number {
  const most = Math.floor(bytes / MIN_SLICE_BYTES)
  return Math.max(Math.min(most, lanes * SLICES_PER_LANE), Math.ceil(bytes / MAX_SLICE_BYTES))
}

function pagesAllow(pages: number): number {
  return Math.floor(pages / MIN_SLICE_PAGES)
}
