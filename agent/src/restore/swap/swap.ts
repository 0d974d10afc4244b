import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { together } from '../../lanes/together.ts'
import { readBothFingerprints } from '../../postgres/fingerprint.ts'
import type { Target } from '../../postgres/open-target.ts'
import { readSnapshotMark } from '../../postgres/snapshot-gate.ts'
import { readSwapSet } from '../../postgres/swap-set/read-swap-set.ts'
import { schemasOf, type SwapSet } from '../../postgres/swap-set/swap-set.ts'
import { readWrites } from '../../postgres/written-rows.ts'
import { dropStage } from '../drop-stage.ts'
import { findTables } from '../find-tables.ts'
import type { Load, Restored, RestoreRun } from '../load.ts'
import { protectWhile } from '../protect-while.ts'
import { asideOf, type Aside } from '../stage/aside.ts'
import { fillStage } from '../stage/fill-stage.ts'
import { dumpMembers, makeStage } from '../stage/make-stage.ts'
import { prepareStage } from '../stage/prepare-stage.ts'
import { proveStage } from '../stage/prove-stage.ts'
import { stageDoor } from '../stage/stage-door.ts'
import { takeFenceNow } from '../take-fence-now.ts'
import { afterSwap } from './after-swap.ts'
import type { Exchange, Exchanged } from './change.ts'
import { exchange } from './exchange.ts'
import { raisedSequences } from './raised-sequences.ts'

/*
 * Engine swap: the tables are made and loaded beside the live ones, proven there, and exchanged with them in one short
 * transaction. The replaced ones are kept as `previous`, so that an undo takes a moment.
 *
 *   fence ─► stage ─► load and build (and safety backup) ─► prove ─► exchange ─► keys validated, older previous dropped
 *
 * Promises: a failure before the exchange leaves the live tables untouched, one in it is rolled back; what is exchanged was
 * proven, and is defined as the live tables are. Readers wait for the making of the stage and for the exchange, both a few
 * milliseconds a table. Never: changes a live row; shows a reader an empty table; lets anything outside go on using the
 * replaced tables.
 */

/** Throws what its steps throw; the target is as it was, but for `outcome-unknown`. */
export async function swap(target: Target, load: Load, run: RestoreRun): Promise<Restored> {
  const { oids, set } = await readSet(target, load)
  const stage = asideOf('stage', load.job, schemasOf(set))
  const [live, dumped] = await together(
    run.signal,
    async (): Promise<Live> => {
      const found = await readLive(target, load, { oids, set })
      await takeFenceNow(target, load)
      await run.journal.record('staging', { target: target.database.name })
      return found
    },
    async (until) => await dumpMembers(target, set, until),
  )
  let proof: Restored['proof']
  let exchanged: Exchanged
  try {
    const staged = await stageAndProve(target, load, run, { set, stage, dumped })
    proof = staged.proof
    await target.stand(run.signal)
    exchanged = await exchange(target, await exchangeOf(target, load, live, stage, staged), run)
  } catch (error) {
    await load.lanes.giveUp()
    await dropStage(target, stage, run)
    throw error
  }
  run.reporter.phase('cleanup')
  await afterSwap(target, exchanged, run)
  return { receipt: exchanged.receipt, proof, kept: { lateWrites: exchanged.lateWrites } }
}

interface LiveSet {
  set: SwapSet
  oids: number[]
}

interface Live extends LiveSet {
  /** Of the definitions, as the exchange compares them. */
  fingerprint: string
  writes: number
}

async function readSet({ session }: Target, { feed }: Load): Promise<LiveSet> {
  const { chosen } = await findTables(session, feed.tables)
  const oids = [...chosen.keys()]
  return { oids, set: await readSwapSet(session, oids) }
}

/** The live tables as they are now, which must be as they were planned. */
async function readLive({ session }: Target, load: Load, { set, oids }: LiveSet): Promise<Live> {
  const { all, unvalidated } = await readBothFingerprints(session)
  if (all.sha256 !== load.fingerprint || set.findings.length > 0) {
    throw new SyncError('schema-changed', "The target's definitions were changed while the job ran.", {
      hint: 'Nothing was changed. Start the job again when the migration is over.',
      details: set.findings.map(({ text }) => text),
    })
  }
  return { set, oids, fingerprint: unvalidated.sha256, writes: await readWrites(session, oids) }
}

interface StagedRows {
  tables: ArchivedTable[]
  proof: Restored['proof']
  safetyBackup: string | undefined
}

async function stageAndProve(
  target: Target,
  load: Load,
  run: RestoreRun,
  { set, stage, dumped }: { set: SwapSet; stage: Aside; dumped: Awaited<ReturnType<typeof dumpMembers>> },
): Promise<StagedRows> {
  const { journal, reporter, signal } = run
  const { feed, lanes, schema } = load
  const staged = await makeStage(target, set, stage, { dumped, lockAttempts: load.lockAttempts, reporter, signal })
  await journal.record('staged', {})
  const { postData, sequences } = schema
  const prepared = await prepareStage(target, staged, feed.tables, postData)
  const onLoaded = async (): Promise<void> => await journal.record('loaded', {})
  const door = stageDoor(target.database, lanes.count)
  const filling = fillStage(target, prepared, feed, { lanes, door, reporter, sequences, onLoaded })
  const { filled, tables, safetyBackup } = await protectWhile(load, filling)
  await journal.record('built', {})
  const proof = await proveStage(prepared, { tables, found: filled }, { lanes, door, reporter })
  // Readers of the safety backup hold locks on the live tables, and snapshots that are older than the new rows.
  await lanes.rest()
  await journal.record('proven', {})
  return { tables, proof, safetyBackup }
}

async function exchangeOf(
  { session }: Target,
  load: Load,
  live: Live,
  stage: Aside,
  { tables, safetyBackup }: StagedRows,
): Promise<Exchange> {
  const { job, epoch, fence, lockAttempts } = load
  return {
    job,
    epoch,
    fence,
    tables,
    lockAttempts,
    safetyBackup,
    incoming: stage,
    fingerprint: live.fingerprint,
    snapshotMark: await readSnapshotMark(session),
    archive: load.feed.archive,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    writesBefore: live.writes,
    raise: await raisedSequences(session, load),
  }
}
