import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { FeedTable } from '../../feed/feed.ts'
import { inAside } from './aside.ts'
import type { PreparedStage } from './prepare-stage.ts'
import type { StageIndex } from './stage-indexes.ts'

/*
 * How long the work on the stage will take, in seconds of one core. Only the order counts: what has most to come after it
 * goes first. Measured on COPY text of ordinary tables.
 */

/** Into a table, with its archive on the way. */
const COPY_BYTES_PER_S = 50e6
/** Reading a table and sorting it for an index. */
const INDEX_BYTES_PER_S = 200e6
const INDEX_WRITE_BYTES_PER_S = 60e6
/** Of an index nobody knows the size of. */
const INDEX_PART_OF_TABLE = 1 / 8
/** Against a btree of the same size: GIN has an entry for each element, GiST and SP-GiST look for a place for each row. */
const SLOWNESS: Readonly<Record<string, number>> = { gin: 6, gist: 4, spgist: 3, hash: 1.5 }
/** Every column becomes text and is hashed. */
const CHECKSUM_BYTES_PER_S = 150e6
const COUNT_BYTES_PER_S = 2e9
/** A foreign key is checked by joining the keys of both tables. */
const KEY_BYTES_PER_S = 400e6

/** ANALYZE looks at 30,000 rows, of however many. */
const ANALYZE_BYTES_PER_S = 50e6
const ANALYZE_MAX_BYTES = 100e6

/** So small a table takes longer on its way to the server than there. */
export const SMALL_BYTES = 256 * 1024

/** What each piece of work has before it until nothing waits for it any more. Table names are the feed's. */
export interface StageTimes {
  copy: (table: FeedTable) => number
  index: (index: StageIndex) => number
  proof: (table: FeedTable) => number
  keys: (table: TableName) => number
  analyze: (tables: FeedTable[]) => number
}

export function estimateStage(prepared: PreparedStage, tables: FeedTable[], lanes: number): StageTimes {
  const { stage, set } = prepared
  const staged = new Map(tables.map((table) => [formatTableName(inAside(stage, table)), table]))
  const sources = new Map([...stage.schemas].map(([live, aside]) => [aside, live]))
  const sizes = new Map(prepared.liveSizes.map((size) => [formatTableName(size), size]))
  const bytesOf = new Map(tables.map((table) => [formatTableName(table), table.bytes]))
  const keysOf = new Map<string, number>()
  const analyzeBytes = (bytes: number): number => Math.min(bytes, ANALYZE_MAX_BYTES) / ANALYZE_BYTES_PER_S
  for (const [table, keys] of Map.groupBy(set.keys, (key) => formatTableName(key.table))) {
    const own = bytesOf.get(table) ?? 0
    const referenced = keys.map((key) => formatTableName(key.referenced))
    const bytes = referenced.reduce((sum, end) => sum + own + (bytesOf.get(end) ?? 0), 0)
    // What locks one table comes one after the other: its keys' validation and its ANALYZE.
    const seconds = bytes / KEY_BYTES_PER_S + analyzeBytes(own)
    for (const end of [table, ...referenced]) keysOf.set(end, Math.max(keysOf.get(end) ?? 0, seconds))
  }
  const ownOf = (index: StageIndex): number => {
    const bytes = staged.get(formatTableName({ schema: index.schema, name: index.table }))?.bytes ?? 0
    const size = sizes.get(formatTableName({ schema: sources.get(index.schema) ?? '', name: index.name }))
    const part = size && size.indexPages > 0 && size.tablePages > 0 ? size.indexPages / size.tablePages : undefined
    const written = bytes * (part ?? INDEX_PART_OF_TABLE)
    return (bytes / INDEX_BYTES_PER_S + written / INDEX_WRITE_BYTES_PER_S) * (SLOWNESS[index.method] ?? 1)
  }
  const indexesOf = Map.groupBy(prepared.indexes, (index) =>
    formatTableName({ schema: index.schema, name: index.table }),
  )
  const keys = (table: TableName | undefined): number =>
    table === undefined ? 0 : (keysOf.get(formatTableName(table)) ?? 0)
  const proof = ({ bytes, checksum }: FeedTable): number =>
    bytes / (checksum === undefined ? COUNT_BYTES_PER_S : CHECKSUM_BYTES_PER_S)
  const copy = (table: FeedTable): number => {
    const own = (indexesOf.get(formatTableName(inAside(stage, table))) ?? []).map(ownOf)
    const all = [...own, proof(table)]
    // Those of one table are built several at once, the longest first.
    const after = Math.max(...all, all.reduce((sum, one) => sum + one, 0) / lanes)
    return table.bytes / COPY_BYTES_PER_S / lanes + after + keys(table)
  }
  const longest = Math.max(0, ...tables.map(copy))
  /** What takes no time is done when it can be done: big tables' keys wait for it. */
  const soon = ({ bytes }: FeedTable): number | undefined => (bytes <= SMALL_BYTES ? longest : undefined)
  return {
    keys,
    analyze: (some) => some.reduce((sum, { bytes }) => sum + analyzeBytes(bytes), 0),
    proof: (table) => soon(table) ?? proof(table) + keys(table),
    index: (index) => {
      const table = staged.get(formatTableName({ schema: index.schema, name: index.table }))
      return (table && soon(table)) ?? ownOf(index) + keys(table)
    },
    // Small tables take no core long, and more ways to the server than others: in the middle nobody waits for them.
    copy: (table) => (table.bytes <= SMALL_BYTES ? longest / 2 : copy(table)),
  }
}
