import { rollBack } from '../roll-back.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { TableProof } from '@multiboard-sync/shared/plan'
import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { readTables, storedColumns } from '../../postgres/catalog.ts'
import { lineages } from '../../postgres/merge-keys.ts'
import { readMergeTables } from '../../postgres/merge-tables.ts'
import type { Target } from '../../postgres/open-target.ts'
import { commit } from '../commit.ts'
import { dropStage } from '../drop-stage.ts'
import { findTables } from '../find-tables.ts'
import type { Load, Restored, RestoreRun } from '../load.ts'
import { compareRows, proveTables } from '../prove.ts'
import { protectWhile } from '../protect-while.ts'
import { writeReceipt } from '../receipt.ts'
import { asideOf, inAside, type Aside } from '../stage/aside.ts'
import { takeFenceNow } from '../take-fence-now.ts'
import type { Changes } from './change-rows.ts'
import { mergeTables, MovedValue, type Matched } from './merge-tables.ts'
import type { Pair } from './row-sql.ts'
import { fillTables, makeTables } from './stage-tables.ts'

/*
 * Engine merge: the archive's rows are loaded and proven beside, then the live tables' rows become the same ones in one
 * transaction of deletes, updates and inserts.
 *
 *   fence ─► stage ─► load (and safety backup) ─► prove the stage            nobody waits for these
 *         ─► lock ─► change rows ─► put back ─► prove live ─► receipt ─► deadline + commit       writers wait for these
 *
 * Promises: no table is replaced, so whatever points to it stays; readers see the old rows until the commit, also those
 * whose snapshots are older; a row that is equal is not touched; a value of a column that only the target has stays on
 * its row. Whatever fails before the commit is rolled back by PostgreSQL, and the stage is dropped.
 * Never: changes a row of a table outside the job, fires a user's trigger, uses CASCADE. Readers wait only where a foreign
 * key has to be dropped for the time being (see decide-keys.ts), or a materialized view has no unique index.
 */

/** The commit itself takes milliseconds; a lease with less than this left is renewed first. */
const MIN_LEASE_MS = 5_000
/** How long the finished change waits, holding its locks, for a control plane that is out of reach. */
const LEASE_WAIT_MS = 180_000
/** Between tries to get the locks, so that whoever was in the way gets done. */
const FIRST_DELAY_MS = 500
const MAX_DELAY_MS = 10_000

/**
 * Throws, with the target as it was: `unsupported-object` where mergeBlockers() would have said so, `schema-changed`,
 * `constraint-violated`, `proof-failed`, `lock-timeout` after `lockAttempts` tries, `fence-superseded`, `already-done`,
 * `lease-lost`, what loading throws; and `outcome-unknown`, when nobody can tell.
 */
export async function merge(target: Target, load: Load, run: RestoreRun): Promise<Restored> {
  const { lanes, feed } = load
  const { journal, reporter } = run
  const stage = asideOf(
    'stage',
    load.job,
    feed.tables.map(({ schema }) => schema),
  )
  reporter.phase('staging')
  const matched = await matchTables(target, load, stage)
  await takeFenceNow(target, load)
  await journal.record('staging', { target: target.database.name })
  let merged: Merged
  try {
    await makeTables(target.session, stage, feed.tables)
    await journal.record('staged', {})
    const keyNames = new Map(matched.tables.map(({ table, keyName }) => [table.oid, keyName ?? table.name]))
    const onLoaded = async (): Promise<void> => await journal.record('loaded', {})
    const pairs = [...matched.pairs.values()]
    const filling = fillTables(target, feed, { pairs, keyNames }, { lanes, reporter, onLoaded })
    const { filled, tables, safetyBackup } = await protectWhile(load, filling)
    await journal.record('built', {})
    compareRows(tables, filled, reporter)
    // Readers of the safety backup hold locks on the live tables.
    await lanes.rest()
    await journal.record('proven', {})
    await target.stand(run.signal)
    run.changing()
    merged = await changeUntilDone(target, load, run, matched, { tables, safetyBackup })
  } catch (error) {
    await lanes.giveUp()
    await dropStage(target, stage, run)
    throw error
  }
  await run.changed()
  for (const [table, changes] of merged.changes) run.reporter.event('table.merged', { table, ...changes })
  await dropStage(target, stage, run)
  return merged.restored
}

/** What the live tables are to become. */
interface Incoming {
  tables: ArchivedTable[]
  safetyBackup: string | undefined
}

interface Merged {
  restored: Restored
  /** By table. */
  changes: Map<string, Changes>
}

async function matchTables({ session }: Target, load: Load, stage: Aside): Promise<Matched> {
  const { chosen } = await findTables(session, load.feed.tables)
  const tables = await readMergeTables(session, [...chosen.values()])
  const lines = lineages(await readTables(session), [...chosen.keys()])
  const archived = new Map(load.feed.tables.map((table) => [formatTableName(table), table]))
  const pairs = tables.map(({ table, key, fixed }): [number, Pair] => {
    const name = formatTableName(table)
    const columns = storedColumns(archived.get(name)?.columns ?? []).map((column) => column.name)
    const has = new Set(columns)
    if (key.length === 0 || !key.every((column) => has.has(column.name))) {
      throw new SyncError('unsupported-object', `Table ${name} cannot be merged: its primary key cannot be used.`, {
        hint: 'Ask for the engine truncate.',
      })
    }
    const own = storedColumns(table.columns).flatMap((column) => (has.has(column.name) ? [] : [column.name]))
    const live = { schema: table.schema, name: table.name }
    const line = lines.get(table.oid) ?? new Set([table.oid])
    return [table.oid, { oid: table.oid, line, live, stage: inAside(stage, table), key, columns, own, fixed }]
  })
  return { tables, pairs: new Map(pairs) }
}

async function changeUntilDone(
  target: Target,
  load: Load,
  run: RestoreRun,
  matched: Matched,
  incoming: Incoming,
): Promise<Merged> {
  let moving = false
  for (let attempt = 1; ;) {
    try {
      return await changeOnce(target, load, run, { ...matched, moving }, incoming)
    } catch (thrown) {
      await rollBack(target.session)
      run.signal.throwIfAborted()
      if (thrown instanceof MovedValue && !moving) {
        moving = true
        continue
      }
      const error = thrown instanceof MovedValue ? thrown.cause : thrown
      if (toSyncError(error).code !== 'lock-timeout') throw error
      run.reporter.event('lock.waiting', { attempt, tables: load.feed.tables.slice(0, 5).map(formatTableName) })
      if (attempt >= load.lockAttempts) throw error
      const ceilingMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1))
      await sleep(ceilingMs * (0.5 + Math.random() / 2), undefined, { signal: run.signal }).catch(() => undefined)
      run.signal.throwIfAborted()
      attempt += 1
    }
  }
}

async function changeOnce(
  target: Target,
  load: Load,
  run: RestoreRun,
  matched: Matched & { moving: boolean },
  { tables, safetyBackup }: Incoming,
): Promise<Merged> {
  const { session, database } = target
  const { job, epoch } = load
  const { fence, changes } = await mergeTables(target, load, run, matched)
  const quiet = { ...run.reporter, event: () => undefined }
  const proof: TableProof[] = await proveTables(session, tables, quiet)
  const facts = {
    job,
    epoch,
    fence,
    target: database.name,
    archive: load.feed.archive,
    safetyBackup,
    engine: load.engine,
    tables: tables.length,
    names: tables,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
  }
  await writeReceipt(session, facts)
  run.reporter.phase('swapping')
  await run.lease.waitUntilValid(MIN_LEASE_MS, LEASE_WAIT_MS, run.signal)
  await run.journal.record('committing', { target: database.name })
  run.signal.throwIfAborted()
  await commit(session, run.lease, job, database, run.signal)
  const { archive, engine } = facts
  const receipt = { job, epoch, fence, archive, engine, committed_at: new Date().toISOString() }
  return { restored: { receipt, proof }, changes }
}
