import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Feed, FeedTable } from '../../feed/feed.ts'
import { allOf, type Lanes } from '../../lanes/lanes.ts'
import { storedColumns } from '../../postgres/catalog.ts'
import type { Target } from '../../postgres/open-target.ts'
import { quoteIdent, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import type { Reporter } from '../../report/reporter.ts'
import type { Filling } from '../protect-while.ts'
import { readFound, type Found } from '../prove.ts'
import { runTogether } from '../run-together.ts'
import { createAside, inAside, type Aside } from '../stage/aside.ts'
import { again, once, type StageWork } from '../stage/once.ts'
import { pourTables } from '../stage/pour-tables.ts'
import { stageDoor } from '../stage/stage-door.ts'
import type { Pair } from './row-sql.ts'

/**
 * Makes the stage in one transaction: for each table one of the archive's columns in the live types, bare of constraints,
 * defaults and indexes, and unlogged: a server that crashes has ended the job anyway. Locks nothing that readers or
 * writers wait for.
 */
export async function makeTables(session: Session, stage: Aside, tables: FeedTable[]): Promise<void> {
  try {
    await session.run('begin')
    await createAside(session, stage)
    await runTogether(
      session,
      tables.map((table) => {
        const columns = storedColumns(table.columns).map(({ name }) => quoteIdent(name))
        // Vacuum would hold a lock that an index has to wait for.
        return `create unlogged table ${quoteTable(inAside(stage, table))} with (autovacuum_enabled = off)
          as select ${columns.join(', ')} from only ${quoteTable(table)} with no data`
      }),
    )
    await session.run('commit')
  } catch (error) {
    await session.run('rollback').catch(() => session.destroy())
    throw error
  }
}

/** What is known of the live tables whose rows are to come. */
export interface Matches {
  pairs: Pair[]
  /** Of their primary keys, by the table's OID. */
  keyNames: Map<number, string>
}

/**
 * Begins to stream the feed into the staged tables; each then gets the live one's primary key, under its name, the planner
 * its numbers, and is counted and summed. Both promises fail with the lanes, with `constraint-violated` when the feed has a
 * key twice by the target's rules, and as copyPiece().
 */
export function fillTables(
  target: Target,
  feed: Feed,
  { pairs, keyNames }: Matches,
  { lanes, reporter, onLoaded }: { lanes: Lanes; reporter: Reporter; onLoaded: () => Promise<void> },
): Filling {
  const work: StageWork = {
    door: stageDoor(target.database, lanes.count),
    stand: async () => await target.stand(lanes.signal),
    reporter,
    signal: lanes.signal,
  }
  const stages = new Map(pairs.map((pair) => [formatTableName(pair.live), pair]))
  const pairOf = (table: TableName): Pair => {
    const pair = stages.get(formatTableName(table))
    if (!pair) throw new SyncError('internal', `Nothing was made for the rows of ${formatTableName(table)}.`)
    return pair
  }
  // All tables have the same to come.
  const urgencyOf = ({ bytes }: FeedTable): number => bytes
  const place = (table: TableName): TableName => pairOf(table).stage
  const poured = pourTables(feed, { lanes, stage: work, place, urgencyOf, onLoaded })
  const found = new Map<string, Found>()

  const finishTable = async (table: FeedTable): Promise<void> => {
    const name = formatTableName(table)
    await poured.tables.get(name)
    const { oid, stage, key } = pairOf(table)
    const columns = key.map((column) => quoteIdent(column.name)).join(', ')
    const constraint = quoteIdent(keyNames.get(oid) ?? stage.name)
    await lanes.run({ kind: 'index', name, urgency: table.bytes }, async (lane) => {
      await once(lane, work, name, async (session) => {
        await session.run(`alter table ${quoteTable(stage)} add constraint ${constraint} primary key (${columns})`)
        await session.run(`analyze ${quoteTable(stage)}`)
      })
    })
    await lanes.run({ kind: 'checksum', name, urgency: table.bytes }, async (lane) => {
      found.set(name, await again(lane, work, name, async (session) => await readFound(session, stage, table)))
    })
  }
  const built = async (): Promise<Map<string, Found>> => {
    await allOf(feed.tables.map(finishTable))
    return found
  }
  return { finished: poured.finished, built: built() }
}
