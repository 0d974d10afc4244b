import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Feed, FeedTable } from '../../feed/feed.ts'
import { allOf, type Door, type Lane, type Lanes } from '../../lanes/lanes.ts'
import type { WorkKind } from '../../lanes/trace.ts'
import type { Target } from '../../postgres/open-target.ts'
import { quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import type { SetKey } from '../../postgres/swap-set/swap-set.ts'
import type { Reporter } from '../../report/reporter.ts'
import type { Filling } from '../protect-while.ts'
import { readFound, type Found } from '../prove.ts'
import { runTogether } from '../run-together.ts'
import { inAside } from './aside.ts'
import { estimateStage, SMALL_BYTES } from './estimate.ts'
import { addKeySql, isInTwoSteps, validateKeySql } from './key-sql.ts'
import { inBatches } from './in-batches.ts'
import { createNameLocks } from './name-locks.ts'
import { again, once, onceRun, type StageWork } from './once.ts'
import { pourTables } from './pour-tables.ts'
import type { PreparedStage, StageTree } from './prepare-stage.ts'
import { setStageSequences } from './staged-sequences.ts'
import { constraintSql, type StageIndex } from './stage-indexes.ts'

/*
 * The filling of a stage, as a graph of promises whose work is done on the job's lanes:
 *
 *   a table's pieces ─► its indexes ┐
 *                    └► its proof ──┴► its constraints ┐            ┌► key validated
 *   the same of the table at the other end of a key ───┴► key added ┴► ANALYZE, which waits for no other table
 *   all pieces ─► the feed's end                         all of it ─► sequences, triggers
 *
 * Promises: a lane that is free takes what has most to come after it; nothing that is begun waits for a lock that
 * something else here holds; everything is done once (once.ts). Never: reads or locks what is not in the stage.
 *
 * Why nothing waits: COPY (ROW EXCLUSIVE) comes before CREATE INDEX (SHARE), which may be several at once and beside a
 * count (ACCESS SHARE); USING INDEX (ACCESS EXCLUSIVE) comes after both; ADD FOREIGN KEY (SHARE ROW EXCLUSIVE on both ends),
 * VALIDATE and ANALYZE (SHARE UPDATE EXCLUSIVE on their own) come last, and hold the names of what they lock.
 */

/** Small tables share their messages, so many at a time. */
const SMALL_TABLES = 50
/** A table that keeps a big one's key waiting does not wait for company. */
const SMALL_KEY_SECONDS = 0.01

export interface FillRun {
  lanes: Lanes
  /** To sessions that fill a stage. */
  door: Door
  reporter: Reporter
  /** The archive's text of the sequences' values. */
  sequences: string
  /** Called when all rows are in. */
  onLoaded?: () => Promise<void>
}

/**
 * Begins to stream the feed's tables into their twins and to put back what was taken off for the load. Row security comes
 * after the proof. Both promises fail with the lanes, with what copyPiece() throws, `constraint-violated` and the
 * session's errors.
 */
export function fillStage(target: Target, prepared: PreparedStage, feed: Feed, run: FillRun): Filling {
  const { lanes, door, reporter } = run
  const { stage } = prepared
  const place = (table: TableName): TableName => inAside(stage, table)
  const work: StageWork = {
    door,
    stand: async () => await target.stand(lanes.signal),
    reporter,
    signal: lanes.signal,
  }
  const times = estimateStage(prepared, feed.tables, lanes.count)
  const poured = pourTables(feed, {
    lanes,
    stage: work,
    place,
    urgencyOf: times.copy,
    onLoaded: run.onLoaded ?? (async () => undefined),
  })
  const found = new Map<string, Found>()
  const indexesOf = Map.groupBy(prepared.indexes, (index) =>
    formatTableName({ schema: index.schema, name: index.table }),
  )
  const inTurn = turnsOf(prepared)

  const onLane = async (kind: WorkKind, name: string, urgency: number, task: (lane: Lane) => Promise<void>) =>
    await lanes.run({ kind, name, urgency }, task)

  const tellBuilt = (index: string): void => reporter.event('index.built', { index }, 'debug')
  const build = async (index: StageIndex): Promise<void> =>
    await onLane('index', index.name, times.index(index), async (lane) => {
      await onceRun(lane, work, index.name, [index.definition])
      tellBuilt(index.name)
    })

  const find = async (lane: Lane, table: FeedTable): Promise<void> => {
    const name = formatTableName(table)
    const count = async (session: Session): Promise<Found> => await readFound(session, place(table), table)
    found.set(name, await again(lane, work, name, count))
  }
  const count = async (table: FeedTable): Promise<void> =>
    await onLane('checksum', formatTableName(table), times.proof(table), async (lane) => await find(lane, table))

  const turnsOfTable = (table: FeedTable): Turns => inTurn(indexesOf.get(formatTableName(place(table))) ?? [])
  const alone = new Set(
    prepared.trees.filter(({ members }) => members.length === 1).map(({ root }) => formatTableName(root)),
  )
  const isSmall = (table: FeedTable): boolean => table.bytes <= SMALL_BYTES && times.keys(table) <= SMALL_KEY_SECONDS

  /** A table's indexes, constraints and numbers for the planner, one after the other. */
  const finishSql = (table: FeedTable): string[] => {
    const { first, early, late } = turnsOfTable(table)
    const indexes = [...first, ...early, ...late]
    const isAlone = alone.has(formatTableName(place(table)))
    return [
      ...indexes.map(({ definition }) => definition),
      ...indexes.flatMap(constraintSql),
      ...(isAlone ? [`analyze ${quoteTable(place(table))}`] : []),
    ]
  }
  const finishSmall = inBatches<FeedTable>(SMALL_TABLES, async (take) => {
    await onLane('index', 'small tables', 0, async (lane) => {
      const batch = take()
      await onceRun(lane, work, 'small tables', batch.flatMap(finishSql))
      for (const table of batch) {
        for (const { name } of indexesOf.get(formatTableName(place(table))) ?? []) tellBuilt(name)
        await find(lane, table)
      }
    })
  })

  /** From a table's last piece until its constraints stand. */
  const finishTable = async (table: FeedTable): Promise<void> => {
    const name = formatTableName(place(table))
    await poured.tables.get(formatTableName(table))
    if (isSmall(table)) return await finishSmall(table)
    const { first, early, late } = turnsOfTable(table)
    const firstBuilt = allOf(first.map(build))
    const lateBuilt = firstBuilt.then(async () => await allOf(late.map(build)))
    await allOf<unknown>([firstBuilt, lateBuilt, ...early.map(build), count(table)])
    const constraints = [...first, ...early, ...late].flatMap(constraintSql)
    if (constraints.length === 0) return
    await onLane('key', formatTableName(table), times.keys(table), async (lane) => {
      await onceRun(lane, work, name, constraints)
    })
  }

  const tables = new Map(feed.tables.map((table) => [formatTableName(place(table)), finishTable(table)]))
  const feedTables = new Map(feed.tables.map((table) => [formatTableName(place(table)), table]))

  const standing = new Set<string>()
  const ready = new Map(
    prepared.trees.map(({ root, members }) => {
      const name = formatTableName(root)
      const all = allOf(members.flatMap((member) => tables.get(formatTableName(member)) ?? []))
      return [name, all.then(() => void standing.add(name))]
    }),
  )
  const locks = createNameLocks()
  const rootOf = rootsOf(prepared.trees)
  const withPartitions = prepared.trees.filter(({ members }) => members.some(({ isPartition }) => isPartition))
  const partitioned = new Set(withPartitions.flatMap(({ members }) => members.map(formatTableName)))
  const onKey = async (key: SetKey, names: string[], task: (lane: Lane) => Promise<void>): Promise<void> =>
    await locks.hold(names, async () => await onLane('key', key.name, times.keys(key.table), task))

  const addKey = async ({ key, ends, isLater }: KeyToAdd): Promise<void> => {
    await allOf(ends.flatMap((end) => ready.get(end) ?? []))
    await onKey(key, ends, async (lane) => {
      await onceRun(lane, work, key.name, [addKeySql(key, stage, isLater)])
    })
  }
  const validateKey = async ({ key, ends, isLater }: KeyToAdd, added: Promise<void>): Promise<void> => {
    await added
    if (!isLater) return
    await onKey(key, ends.slice(0, 1), async (lane) => {
      await again(lane, work, key.name, async (session) => await session.run(validateKeySql(key, stage)))
    })
  }
  const keys = prepared.set.keys
    .filter(({ side }) => side === 'inner')
    .map((key) => {
      const ends = [key.table, key.referenced].map((end) => rootOf(place(end)))
      const toAdd = { key, ends, isLater: isInTwoSteps(key, partitioned.has(formatTableName(place(key.referenced)))) }
      const added = addKey(toAdd)
      return { ends, added, valid: validateKey(toAdd, added) }
    })
  const addedTo = Map.groupBy(
    keys.flatMap(({ ends, added }) => ends.map((end) => ({ end, ends, added }))),
    ({ end }) => end,
  )

  /**
   * ANALYZE of a partitioned table is one of its partitions too, and of a parent it reads the children. Keys that can be
   * added now come first, so that they are validated beside it; those that wait for a table that does not stand yet come
   * after it.
   */
  const analyze = async ({ root, members }: StageTree): Promise<void> => {
    const name = formatTableName(root)
    await ready.get(name)
    const own = addedTo.get(name) ?? []
    const now = own.filter(({ ends }) => ends.every((end) => standing.has(end)))
    await allOf(now.map(async ({ added }) => await added))
    const known = members.flatMap((member) => feedTables.get(formatTableName(member)) ?? [])
    if (members.length === 1 && known.every(isSmall)) return
    await locks.hold([name], async () => {
      const urgency = times.analyze(known) + (now.length < own.length ? times.keys(root) : 0)
      await onLane('analyze', root.name, urgency, async (lane) => {
        await again(lane, work, root.name, async (session) => await session.run(`analyze ${quoteTable(root)}`))
      })
    })
  }
  const analyzed = prepared.trees.map(analyze)

  const finish = async (): Promise<Map<string, Found>> => {
    await allOf<unknown>([...tables.values(), ...analyzed, ...keys.map(({ valid }) => valid)])
    await onLane('key', 'sequences and triggers', 0, async (lane) => {
      await once(lane, work, 'sequences and triggers', async (session) => {
        await runTogether(session, prepared.unchecked)
        await setStageSequences(session, stage, run.sequences)
        await prepared.enableTriggers(session)
      })
    })
    return found
  }
  return { finished: poured.finished, built: finish() }
}

/** The root of the partitions that a table is one of, or itself. Names of the stage. */
function rootsOf(trees: StageTree[]): (table: TableName) => string {
  const roots = new Map(
    trees.flatMap(({ root, members }) =>
      members
        .filter(({ isPartition }) => isPartition)
        .map((member) => [formatTableName(member), formatTableName(root)] as const),
    ),
  )
  return (table) => roots.get(formatTableName(table)) ?? formatTableName(table)
}

interface KeyToAdd {
  key: SetKey
  /** The trees at both ends. */
  ends: string[]
  isLater: boolean
}

interface Turns {
  /** A foreign key stands on them. */
  first: StageIndex[]
  early: StageIndex[]
  /** Unique ones of the same table, after `first`. */
  late: StageIndex[]
}

/**
 * A foreign key that names columns stands on the oldest unique index that has them: where one stands on another index
 * than the primary key's, that one is built before the table's other unique ones.
 */
function turnsOf({ set, stage }: PreparedStage): (indexes: StageIndex[]) => Turns {
  const used = new Set<string>()
  const tables = new Set<string>()
  for (const { side, referenced, index, tail, makeTail } of set.keys) {
    if (side === 'outbound' || makeTail !== tail) continue
    const { schema, name } = inAside(stage, referenced)
    used.add(formatTableName({ schema, name: index }))
    tables.add(formatTableName({ schema, name }))
  }
  return (indexes) => {
    const isFirst = (index: StageIndex): boolean => used.has(formatTableName(index))
    const isLate = (index: StageIndex): boolean =>
      !isFirst(index) &&
      index.definition.startsWith('CREATE UNIQUE') &&
      tables.has(formatTableName({ schema: index.schema, name: index.table }))
    return {
      first: indexes.filter(isFirst),
      early: indexes.filter((index) => !isFirst(index) && !isLate(index)),
      late: indexes.filter(isLate),
    }
  }
}
