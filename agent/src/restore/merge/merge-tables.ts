import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { readTables, type TableInfo } from '../../postgres/catalog.ts'
import { decideKeys, type KeyDecision } from '../../postgres/decide-keys.ts'
import { readFingerprint } from '../../postgres/fingerprint.ts'
import { lineages, readMergeKeys, type MergeKey } from '../../postgres/merge-keys.ts'
import type { MergeTable } from '../../postgres/merge-tables.ts'
import type { Target } from '../../postgres/open-target.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { readTriggers } from '../../postgres/triggers.ts'
import { disableTriggers } from '../disable-triggers.ts'
import type { Load, RestoreRun } from '../load.ts'
import { takeFence } from '../receipt.ts'
import { setSequences } from '../set-sequences.ts'
import { changeRows } from './change-rows.ts'
import { refreshMatviews } from './refresh-matviews.ts'
import type { Pair } from './row-sql.ts'

export interface Matched {
  tables: MergeTable[]
  /** By OID. */
  pairs: Map<number, Pair>
}

/** A unique value was still on another row when it was needed: it moves, and the keys have to be decided anew. */
export class MovedValue extends Error {}

/** unique_violation, exclusion_violation. */
const NOT_UNIQUE = new Set(['23505', '23P01'])

/**
 * Begins the transaction, and makes the live tables' rows those of the stage. Leaves it open, with every definition as it
 * was. Answers the fence's number. Throws MovedValue when it has to be done again with `moving`.
 */
export async function mergeTables(
  { session, database }: Target,
  load: Load,
  run: RestoreRun,
  { tables, pairs, moving }: Matched & { moving: boolean },
): Promise<number> {
  const all = await readTables(session)
  const lines = lineages(all, [...pairs.keys()])
  const lineage = new Set([...lines.values()].flatMap((line) => [...line]))
  const decision = decideKeys(tables, await readMergeKeys(session, lineage), lines, moving)
  await session.run('begin isolation level read committed')
  await lock(session, all, tables, decision)
  const fence = await takeFence(session, { job: load.job, fence: load.fence, target: database.name })
  const before = await readFingerprint(session)
  if (before.sha256 !== load.fingerprint) {
    throw new SyncError('schema-changed', "The target's definitions were changed while the job ran.", {
      hint: 'Nothing was changed. Start the job again when the migration is over.',
    })
  }
  if (decision.dropped.length > 0) {
    run.reporter.event('keys.dropped', { keys: decision.dropped.slice(0, 20).map(nameOf), moving })
  }
  for (const { table, name } of decision.dropped) {
    await session.run(`alter table ${quoteTable(table)} drop constraint ${quoteIdent(name)}`)
  }
  const enableTriggers = await disableTriggers(session, new Set(pairs.keys()), await readTriggers(session))

  // Both sides are read whole, whatever the planner expects of them.
  await session.run('set local enable_nestloop = off; set constraints all deferred')
  try {
    const changes = await changeRows(session, pairs, decision, run.signal)
    for (const { table } of tables) {
      run.reporter.event('table.merged', { table: formatTableName(table), ...changes.get(table.oid) })
    }
  } catch (error) {
    throw decision.mayFail && isNotUnique(error) ? new MovedValue('A unique value moves.', { cause: error }) : error
  }
  // Here, so that a deferred constraint names itself; later a table with checks to come could not be altered.
  await session.run('set constraints all immediate; set local enable_nestloop to default')

  run.reporter.phase('building')
  await setSequences(session, load, [...lineage])
  for (const key of decision.dropped) await addForeignKey(session, key)
  await refreshMatviews(session, [...lineage])
  await enableTriggers(session)
  if ((await readFingerprint(session)).sha256 !== before.sha256) {
    throw new SyncError(
      'schema-changed',
      "The target's definitions would not be what they were; everything was rolled back.",
      { hint: 'Report this as a bug, with the output of doctor.' },
    )
  }
  await session.run(`analyze ${load.tables.map(quoteTable).join(', ')}`)
  return fence
}

/**
 * All locks first. Writers wait: of the tables, and of those whose rows refer to them, which must not come to refer to a
 * row that goes. Readers wait at dropped keys alone, for short tries.
 */
async function lock(session: Session, all: TableInfo[], tables: MergeTable[], decision: KeyDecision): Promise<void> {
  const toDrop = new Set(decision.dropped.flatMap((key) => [key.tableOid, key.referencedOid]))
  const toChange = new Set([
    ...tables.map(({ table }) => table.oid),
    ...[...decision.ordered.values()].flat().map((key) => key.tableOid),
  ])
  const names = (oids: Set<number>): string[] => all.flatMap((table) => (oids.has(table.oid) ? [lockName(table)] : []))
  await session.run(`set local statement_timeout = '5s'`)
  for (const [oids, mode] of [
    [toDrop, 'access exclusive'],
    [toChange, 'share row exclusive'],
  ] as const) {
    if (oids.size > 0) await session.run(`lock table ${names(oids).join(', ')} in ${mode} mode`)
  }
  await session.run('set local statement_timeout = 0')
}

/** A key of a partitioned table is one of its partitions too; one of a parent by INHERITS is its own alone. */
function lockName(table: TableInfo): string {
  return table.kind === 'p' ? quoteTable(table) : `only ${quoteTable(table)}`
}

async function addForeignKey(session: Session, key: MergeKey): Promise<void> {
  const [table, name] = [quoteTable(key.table), quoteIdent(key.name)]
  await session.run(`alter table ${table} add constraint ${name} ${key.definition}`)
  if (key.comment !== null)
    await session.run(`comment on constraint ${name} on ${table} is ${quoteLiteral(key.comment)}`)
}

function nameOf(key: MergeKey): string {
  return `${key.name} of ${formatTableName(key.table)}`
}

function isNotUnique(error: unknown): boolean {
  const cause = error instanceof SyncError ? error.cause : error
  return typeof cause === 'object' && cause !== null && 'code' in cause && NOT_UNIQUE.has(String(cause.code))
}
