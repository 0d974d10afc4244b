import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { KeyDecision } from '../../postgres/decide-keys.ts'
import type { MergeKey } from '../../postgres/merge-keys.ts'
import { fromPgError } from '../../postgres/pg-error.ts'
import type { Session } from '../../postgres/session.ts'
import type { RestoreRun } from '../load.ts'
import {
  countMissingSql,
  countReferringSql,
  deleteChangedSql,
  deleteMissingSql,
  deleteUnusedSql,
  insertKeptSql,
  insertSql,
  keepChangedSql,
  updateSql,
  type Pair,
} from './row-sql.ts'

/** How many rows of a table were not as the archive has them. */
export interface Changes {
  inserted: number
  updated: number
  deleted: number
}

/**
 * Makes the live tables' rows those of the stage, inside the caller's transaction, foreign keys being as `decision` says:
 * first what nothing refers to goes, then what is new or differs comes, then the rest goes. `pairs` are the decision's
 * tables by OID. Answers what was changed, by table. Throws `constraint-violated`.
 */
export async function changeRows(
  session: Session,
  pairs: Map<number, Pair>,
  decision: KeyDecision,
  { reporter, signal }: Pick<RestoreRun, 'reporter' | 'signal'>,
): Promise<Map<string, Changes>> {
  const ask = async (sql: string): Promise<number> => {
    const [row] = await session.query<{ rows: number }>(sql)
    return row?.rows ?? 0
  }
  const change = async ({ live }: Pair, sql: string): Promise<number> => {
    signal.throwIfAborted()
    try {
      return (await session.client.query(sql)).rowCount ?? 0
    } catch (error) {
      signal.throwIfAborted()
      throw fromPgError(error, `merging ${formatTableName(live)}`)
    }
  }
  const tables = decision.order.flatMap(({ table }) => {
    const pair = pairs.get(table.oid)
    return pair ? [pair] : []
  })
  const keysOf = (pair: Pair): MergeKey[] => decision.ordered.get(pair.oid) ?? []
  const changes = new Map(tables.map(({ live }) => [formatTableName(live), { inserted: 0, updated: 0, deleted: 0 }]))
  const count = (pair: Pair, what: keyof Changes, rows: number): void => {
    const sum = changes.get(formatTableName(pair.live))
    if (sum) sum[what] += rows
  }

  for (const pair of tables.toReversed()) {
    if (decision.replaced.has(pair.oid)) {
      const changed = await change(pair, keepChangedSql(pair, keptIn(pair)))
      count(pair, 'updated', changed)
      count(pair, 'deleted', (await change(pair, deleteChangedSql(pair))) - changed)
    } else count(pair, 'deleted', await change(pair, deleteUnusedSql(pair, keysOf(pair))))
  }
  for (const [index, pair] of tables.entries()) {
    reporter.progress({ table: formatTableName(pair.live), tablesDone: index, tablesTotal: tables.length })
    // New rows may refer to old ones that change, and old ones come to refer to new ones.
    const refersToItself = keysOf(pair).some((key) => pair.line.has(key.tableOid))
    const update = decision.replaced.has(pair.oid) ? undefined : updateSql(pair)
    if (decision.replaced.has(pair.oid)) await change(pair, insertKeptSql(pair, keptIn(pair)))
    if (update !== undefined && !refersToItself) count(pair, 'updated', await change(pair, update))
    count(pair, 'inserted', await change(pair, insertSql(pair)))
    if (update !== undefined && refersToItself) count(pair, 'updated', await change(pair, update))
  }
  for (const pair of tables.toReversed()) {
    const keys = keysOf(pair)
    if (keys.length === 0 || (await ask(countMissingSql(pair))) === 0) continue
    // An action of the key's own (CASCADE, SET NULL) would change those rows instead of refusing.
    for (const key of keys) if ((await ask(countReferringSql(pair, key))) > 0) throw stillReferred(pair, key)
    count(pair, 'deleted', await change(pair, deleteMissingSql(pair)))
  }
  return changes
}

/** Beside the staged tables, under a name that none of theirs has. */
function keptIn({ oid, stage }: Pair): TableName {
  return { schema: stage.schema, name: `multiboard_sync_changed_${oid}` }
}

function stillReferred({ live }: Pair, key: MergeKey): SyncError {
  const [from, to] = [formatTableName(key.table), formatTableName(live)]
  return new SyncError(
    'constraint-violated',
    `Rows of ${from} refer to rows of ${to} that the archive does not have, constraint ${key.name}.`,
    { hint: 'Look at the rows that this constraint speaks of.' },
  )
}
