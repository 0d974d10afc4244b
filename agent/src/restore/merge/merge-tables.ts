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
import { changeRows, type Changes } from './change-rows.ts'
import { refreshMatviews } from './refresh-matviews.ts'
import { countMissingSql, type Pair } from './row-sql.ts'

export interface Matched {
  tables: MergeTable[]
  /** By OID. */
  pairs: Map<number, Pair>
}

/** A unique value was still on another row when it was needed: it moves, and the keys have to be decided anew. */
export class MovedValue extends Error {}

/** A core reads about so much of a table that is in memory in four seconds; then it is cheaper to check the key as a whole. */
const MAX_SCAN_BYTES = 4e9
/** Longer than deadlock_timeout, after which a vacuum gives way; a reader waits behind us no longer than this. */
const LOCK_TRY_MS = 2_000
/** unique_violation, exclusion_violation. */
const NOT_UNIQUE = new Set(['23505', '23P01'])

/**
 * Begins the transaction, and makes the live tables' rows those of the stage. Leaves it open, with every definition as it
 * was. Answers the fence's number, and what was changed by table. Throws MovedValue when it has to be done again with `moving`.
 */
export async function mergeTables(
  { session, database }: Target,
  load: Load,
  run: RestoreRun,
  { tables, pairs, moving }: Matched & { moving: boolean },
): Promise<{ fence: number; changes: Map<string, Changes> }> {
  run.reporter.phase('building')
  const all = await readTables(session)
  const lines = lineages(all, [...pairs.keys()])
  const lineage = new Set([...lines.values()].flatMap((line) => [...line]))
  const keys = await readMergeKeys(session, lineage)
  const decision = decideKeys(tables, keys, lines, { moving, costly: await findCostly(session, keys, pairs) })
  await session.run('begin isolation level read committed')
  await lock(session, all, tables, decision)
  await checkSame(session, [...pairs.keys()])
  const fence = await takeFence(session, { job: load.job, fence: load.fence, target: database.name })
  const before = await readFingerprint(session)
  if (before.sha256 !== load.fingerprint) throw schemaChanged()
  if (decision.dropped.length > 0) {
    run.reporter.event('keys.dropped', { keys: decision.dropped.slice(0, 20).map(nameOf), moving })
  }
  for (const { table, name } of decision.dropped) {
    await session.run(`alter table ${quoteTable(table)} drop constraint ${quoteIdent(name)}`)
  }
  const enableTriggers = await disableTriggers(session, new Set(pairs.keys()), await readTriggers(session))

  // Both sides are read whole, whatever the planner expects of them.
  await session.run('set local enable_nestloop = off; set constraints all deferred')
  const changes = await changeRows(session, pairs, decision, run).catch((error: unknown) => {
    throw decision.mayFail && isNotUnique(error) ? new MovedValue('A unique value moves.', { cause: error }) : error
  })
  // Here, so that a deferred constraint names itself; later a table with checks to come could not be altered.
  await session.run('set constraints all immediate; set local enable_nestloop to default')

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
  await session.run(`analyze ${load.feed.tables.map(quoteTable).join(', ')}`)
  return { fence, changes }
}

/** Keys without an index, whose tables would be read from end to end once for every row that goes. */
async function findCostly(session: Session, keys: MergeKey[], pairs: Map<number, Pair>): Promise<Set<number>> {
  const missing = new Map<number, number>()
  const countMissing = async (pair: Pair): Promise<number> => {
    const [row] = missing.has(pair.oid) ? [] : await session.query<{ rows: number }>(countMissingSql(pair))
    if (row) missing.set(pair.oid, row.rows)
    return missing.get(pair.oid) ?? 0
  }
  const costly = new Set<number>()
  for (const key of keys.filter(({ scanBytes }) => scanBytes > 0)) {
    let rows = 0
    for (const pair of pairs.values()) if (pair.line.has(key.referencedOid)) rows += await countMissing(pair)
    if (rows * key.scanBytes > MAX_SCAN_BYTES) costly.add(key.oid)
  }
  return costly
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
  await session.run(`set local statement_timeout = ${LOCK_TRY_MS}`)
  for (const [oids, mode] of [
    [toDrop, 'access exclusive'],
    [toChange, 'share row exclusive'],
  ] as const) {
    if (oids.size > 0) await session.run(`lock table ${names(oids).join(', ')} in ${mode} mode`)
  }
  await session.run('set local statement_timeout = 0')
}

/** A table that was dropped and made again has a fingerprint as before, and keys that were not read. */
async function checkSame(session: Session, oids: number[]): Promise<void> {
  const there = await session.query('select from pg_catalog.pg_class where oid = any ($1::oid[])', [oids])
  if (there.length < oids.length) throw schemaChanged()
}

function schemaChanged(): SyncError {
  return new SyncError('schema-changed', "The target's definitions were changed while the job ran.", {
    hint: 'Nothing was changed. Start the job again when the migration is over.',
  })
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
