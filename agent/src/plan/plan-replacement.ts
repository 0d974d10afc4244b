import type { EngineChoice } from '@multiboard-sync/shared/job'
import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { TableInfo } from '../postgres/catalog.ts'
import type { DumpEntry } from '../postgres/dump-entries.ts'
import { readForeignKeys } from '../postgres/foreign-keys.ts'
import { readDependentMatviews } from '../postgres/matviews.ts'
import { mergeBlockers, mergeWaits } from '../postgres/merge-blockers.ts'
import type { Target } from '../postgres/open-target.ts'
import type { Session } from '../postgres/session.ts'
import { readSwapSet } from '../postgres/swap-set/read-swap-set.ts'
import type { SwapSet } from '../postgres/swap-set/swap-set.ts'
import { checkPrepared, checkSourceLocks, checkSwapLocks } from './check-locks.ts'
import { checkSwapRights } from './check-rights.ts'
import { checkSequences } from './check-sequences.ts'
import { checkSource } from './check-source.ts'
import { checkCreateRight, checkOwnership } from './check-target.ts'
import { checkVeto } from './check-veto.ts'
import { chooseReplacement } from './choose-engine.ts'
import { compareSchema, type SchemaDifferences } from './compare-schema.ts'
import type { Origin } from './origin.ts'
import type { Plan, Replaced } from './plan.ts'

/** Of differences that do not matter to the rows, this many are told. */
const MAX_NOTICES = 50

/** What the plan of a replacement needs to know beside the plan that is begun. */
export interface Present {
  asked: EngineChoice
  origin: Origin
  target: Target
  /** Ordinary and partitioned tables of the target. */
  tables: TableInfo[]
  originEntries: DumpEntry[]
  targetEntries: DumpEntry[]
  /** Of the target, older than its entries. */
  fingerprint: string
}

type Decided = Pick<
  Plan,
  'engine' | 'reason' | 'replaced' | 'remade' | 'waits' | 'outside_foreign_keys' | 'notices' | 'target_fingerprint'
>

/**
 * How tables that are there are replaced: whether the rows fit, which engine can do it, and everything that this engine
 * needs of the target. Reads; event triggers are tried in a transaction that is rolled back. Throws what refuses it.
 */
export async function planReplacement(present: Present): Promise<Decided> {
  const { asked, origin, target, tables, fingerprint } = present
  const { session } = target
  const { notices } = compare(present)
  const wanted = new Set(origin.tables.map(formatTableName))
  const replaced = tables.filter((table) => wanted.has(formatTableName(table)))
  checkExtensions(session, replaced)
  // The safety backup reads them as any source is read.
  await checkSource(session, { chosen: replaced, foreign: [], isWhole: false })
  if (!origin.isPartial) await checkSequences(session, origin.schema.sequences)
  const oids = replaced.map((table) => table.oid)
  const set = asked === 'auto' || asked === 'swap' ? await readSwapSet(session, oids) : undefined
  const decision = chooseReplacement(asked, {
    findings: set?.findings ?? [],
    mergeBlockers: asked === 'truncate' ? [] : await mergeBlockers(session, oids, origin.tables),
  })
  const shown = notices.slice(0, MAX_NOTICES)
  const common = {
    engine: decision.engine,
    reason: decision.reason,
    target_fingerprint: fingerprint,
    notices: [
      ...decision.notices,
      ...NOTICES[decision.engine],
      ...shown,
      ...(notices.length > MAX_NOTICES ? [`and ${notices.length - MAX_NOTICES} more differences`] : []),
    ],
  }
  if (decision.engine === 'swap' && set) {
    return { ...common, ...(await planSwap(session, set, replaced, tables.length)) }
  }
  await checkSourceLocks(session, tables.length)
  return { ...common, ...(await planInPlace(session, oids, replaced, decision.engine === 'merge')) }
}

const NOTICES: Record<Plan['engine'], string[]> = {
  create: [],
  swap: [
    'rows that are written to these tables while the job runs stay behind in the previous tables; the result counts them',
    'the previous tables are kept for undo until the next swap, and need their disk space until then',
  ],
  merge: ['rows that are written to these tables while the job runs become those of the archive, too'],
  truncate: ['rows that are written to these tables after the safety backup began are replaced, too'],
}

type Effects = Pick<Plan, 'replaced' | 'remade' | 'waits' | 'outside_foreign_keys'>

async function planSwap(session: Session, set: SwapSet, replaced: TableInfo[], tables: number): Promise<Effects> {
  await checkSwapRights(session, set)
  const outside = set.keys.filter(({ side }) => side !== 'inner')
  const oids = [...set.members.map(({ oid }) => oid), ...outside.flatMap((key) => [key.tableOid, key.referencedOid])]
  await checkPrepared(session, { oids, excludesReaders: true })
  await checkSwapLocks(session, set, tables)
  await checkVeto(session, set)
  const twins = set.members.filter(({ kind }) => kind === 'v' || kind === 'm')
  return {
    replaced: await readSizes(session, replaced, set.members.length),
    waits: [],
    remade: [
      ...set.remade.map(({ what }) => what),
      ...twins.map((twin) => `${twin.kind === 'm' ? 'materialized view' : 'view'} ${formatTableName(twin)}`),
    ],
    outside_foreign_keys: outside.map((key) => `${key.name} of ${formatTableName(key.table)}`),
  }
}

async function planInPlace(
  session: Session,
  oids: number[],
  replaced: TableInfo[],
  isMerge: boolean,
): Promise<Effects> {
  const inSet = new Set(oids)
  await checkOwnership(session, oids)
  const keys = await readForeignKeys(session)
  const outside = keys.filter((key) => key.parentOid === 0 && inSet.has(key.tableOid) !== inSet.has(key.referencedOid))
  await checkOwnership(
    session,
    outside.map((key) => key.tableOid),
  )
  // Truncate makes one schema of ours and only once; merge makes its stage, too.
  if (isMerge || !(await hasReceipts(session))) await checkCreateRight(session)
  const locked = [...oids, ...outside.flatMap((key) => [key.tableOid, key.referencedOid])]
  await checkPrepared(session, { oids: locked, excludesReaders: !isMerge })
  const matviews = await readDependentMatviews(session, oids)
  return {
    replaced: await readSizes(session, replaced, 0),
    waits: isMerge ? await mergeWaits(session, oids) : [],
    remade: matviews.map((view) => `materialized view ${formatTableName(view)}`),
    outside_foreign_keys: outside.map((key) => `${key.name} of ${formatTableName(key.table)}`),
  }
}

function compare({ origin, tables, originEntries, targetEntries }: Present): SchemaDifferences {
  const differences = compareSchema(
    { tables: origin.tables, entries: originEntries },
    { tables: tables.filter((table) => table.isLeaf), entries: targetEntries },
  )
  if (differences.blocking.length === 0) return differences
  throw new SyncError(
    'schema-mismatch',
    `The rows do not fit the target: ${formatNumberOf(differences.blocking.length, 'difference')}.`,
    {
      hint: 'Run your migrations on the older side, then start the job again.',
      details: differences.blocking,
    },
  )
}

/** An extension's tables are in no archive, so that there would be no safety backup of them. */
function checkExtensions(session: Session, replaced: TableInfo[]): void {
  const details = replaced.flatMap((table) =>
    table.extension === null ? [] : [`table ${formatTableName(table)} belongs to the extension ${table.extension}`],
  )
  if (details.length === 0) return
  throw new SyncError('unsupported-object', `Tables of an extension in "${session.database}" are not replaced.`, {
    hint: 'Leave them out: name other tables, or exclude them in the route.',
    details,
  })
}

async function hasReceipts(session: Session): Promise<boolean> {
  const [row] = await session.query<{ there: boolean }>(
    `select to_regclass('multiboard_sync.receipts') is not null as there`,
  )
  return row?.there === true
}

async function readSizes(session: Session, replaced: TableInfo[], members: number): Promise<Replaced> {
  const [row] = await session.query<{ bytes: number }>(
    'select coalesce(sum(pg_indexes_size(oid)), 0)::float8 as bytes from unnest($1::oid[]) as oid',
    [replaced.map(({ oid }) => oid)],
  )
  return { bytes: replaced.reduce((sum, table) => sum + table.tableBytes, 0), index_bytes: row?.bytes ?? 0, members }
}
