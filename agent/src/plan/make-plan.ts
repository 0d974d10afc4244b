import type { Route } from '@multiboard-sync/shared/policy'
import type { EngineChoice } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { JobRun } from '../context.ts'
import { dumpDefinitions } from '../postgres/dump-source.ts'
import { readBlockers } from '../postgres/blockers.ts'
import { readTables, type TableInfo } from '../postgres/catalog.ts'
import { splitEntries, type DumpEntry } from '../postgres/dump-entries.ts'
import { readFingerprint } from '../postgres/fingerprint.ts'
import { isSameDatabase } from '../postgres/identity.ts'
import { checkCreate, checkVersions } from './check-target.ts'
import { chooseCreate } from './choose-engine.ts'
import { planReplacement } from './plan-replacement.ts'
import type { Target } from '../postgres/open-target.ts'
import { seesTargetLock } from '../postgres/target-lock.ts'
import type { Origin } from './origin.ts'
import type { Plan, PlannedTable } from './plan.ts'

/*
 * Plan: everything that decides whether and how a target is changed, before it is changed.
 *
 * Promises: what it refuses, it refuses with a sentence and a hint, and has written nothing; what it allows, it names:
 * engine, reason, tables, what differs, what is not carried. Nothing is discovered in the middle of a job that could
 * have been known here.
 * Never: commits anything, falls back silently.
 */

/** What blocks a whole engine, whatever the tables are. */
const BLOCKS_TARGET = new Set(['publication', 'subscription'])

export interface PlanRequest {
  kind: Plan['kind']
  origin: Origin
  target: Target
  definitions: Definitions
  engine: EngineChoice
  route: Route | undefined
}

/** What is defined in a target, as it is planned. */
interface Definitions {
  /** Older than the text: what is changed after it is found by whoever compares it again. */
  fingerprint: string
  entries: DumpEntry[]
}

/** Reads a target before anything is decided about it. Throws as dumpSchema() and the session do. */
export async function readDefinitions({ session, database }: Target, signal: AbortSignal): Promise<Definitions> {
  const { sha256: fingerprint } = await readFingerprint(session)
  return { fingerprint, entries: splitEntries(await dumpDefinitions(database, signal)).entries }
}

/** Throws SyncErrors that refuse the job. The plan is told to the reporter and kept in the run's facts. */
export async function makePlan(request: PlanRequest, run: JobRun): Promise<Plan> {
  const plan = await decide(request)
  run.facts.plan = plan
  run.facts.engine = plan.engine
  const { kind, source, target, engine, reason, rows, bytes, notices } = plan
  run.reporter.event('plan.made', {
    kind,
    source,
    target,
    engine,
    reason,
    tables: plan.tables.length,
    rows,
    bytes,
    notices,
  })
  return plan
}

async function decide(request: PlanRequest): Promise<Plan> {
  const { origin, target, definitions, route } = request
  await checkDifferent(request)
  checkVersions(origin.identity.serverVersion, target.identity.serverVersion)
  await checkBlockers(target)
  const present = (await readTables(target.session)).filter((table) => table.kind === 'r' || table.kind === 'p')
  const originEntries = [
    ...splitEntries(origin.schema.preData).entries,
    ...splitEntries(origin.schema.postData).entries,
  ]
  const { entries: targetEntries } = definitions
  const conflicts = conflictsOf(originEntries, targetEntries)
  const presence = { asked: request.engine, wanted: origin.tables, present: leaves(present), conflicts }
  const created = chooseCreate(presence)
  if (created) await checkCreate(target.session, originEntries)
  const decided = created
    ? { ...NEW, ...created, notices: [...created.notices, NOT_CARRIED] }
    : await planReplacement({
        asked: request.engine,
        origin,
        target,
        tables: present,
        originEntries,
        targetEntries,
        fingerprint: definitions.fingerprint,
      })
  const tables = origin.tables.map((table) => plannedTable(table, present))
  return {
    kind: request.kind,
    source: origin.database,
    target: target.database.name,
    tables,
    rows: tables.reduce((sum, table) => sum + table.rows, 0),
    bytes: tables.reduce((sum, table) => sum + table.bytes, 0),
    ...decided,
    whole: !origin.isPartial,
    ...(route?.max_row_drop_pct === undefined ? {} : { max_row_drop_pct: route.max_row_drop_pct }),
  }
}

const NEW = { remade: [], waits: [], outside_foreign_keys: [] }
const NOT_CARRIED = 'owners and grants are not carried: everything created belongs to the role of the agent'

/**
 * Refuses a target that is the origin. A physical copy of it (a restored disk snapshot, pg_basebackup) has its identifiers
 * too, but not its locks. A standby has neither its primary's locks nor rows of its own, and an archive cannot be asked.
 */
async function checkDifferent({ kind, origin, target }: PlanRequest): Promise<void> {
  if (!isSameDatabase(origin.identity, target.identity)) return
  // An archive may go back to where it is from, by the name that it is from.
  if (kind === 'restore' && origin.database === target.database.name) return
  const { live } = origin
  if (live && !live.isInRecovery && !(await seesTargetLock(live.session, target.session))) return
  throw new SyncError('same-database', `"${origin.database}" and "${target.database.name}" are the same database.`, {
    hint: live
      ? 'Two names lead to one database, or to a standby and its primary: check both URLs.'
      : 'The archive is from this database, or from one that this is a physical copy of; restore it under the name it is from.',
  })
}

/** Throws `unsupported-object` with everything that forbids changing the target, whatever the tables are. */
export async function checkBlockers(target: Target): Promise<void> {
  const blockers = (await readBlockers(target.session)).filter((blocker) => BLOCKS_TARGET.has(blocker.kind))
  if (blockers.length === 0) return
  throw new SyncError('unsupported-object', `"${target.database.name}" has objects that forbid changing it.`, {
    hint: 'See docs/COVERAGE.md for each of them.',
    details: blockers.map((blocker) => `${blocker.kind} ${blocker.name}: ${blocker.reason}`),
  })
}

function plannedTable(table: Origin['tables'][number], present: TableInfo[]): PlannedTable {
  const twin = present.find((one) => one.schema === table.schema && one.name === table.name)
  const { schema, name, columns, rows, bytes } = table
  return { schema, name, columns, rows, bytes, ...(twin ? { target_rows: twin.estimatedRows } : {}) }
}

function leaves(tables: TableInfo[]): TableInfo[] {
  return tables.filter((table) => table.isLeaf)
}

/** Kinds that may already be there without harm: CREATE EXTENSION says IF NOT EXISTS, and comments overwrite. */
const HARMLESS = new Set(['EXTENSION', 'COMMENT', 'SCHEMA'])
/** These share one space of names in a schema (pg_class), so that a view is in a table's way. */
const RELATIONS = new Set(['TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SEQUENCE', 'INDEX'])

/** What of the origin would collide with something of the target. */
function conflictsOf(wanted: DumpEntry[], present: DumpEntry[]): string[] {
  const key = ({ type, schema, name }: DumpEntry): string =>
    `${RELATIONS.has(type) ? 'relation' : type}\n${schema}\n${name}`
  const label = ({ type, schema, name }: DumpEntry): string =>
    `${type.toLowerCase()} ${schema === '' ? '' : `${schema}.`}${name}`
  const live = new Map(present.map((entry) => [key(entry), entry]))
  return wanted.flatMap((entry) => {
    const twin = HARMLESS.has(entry.type) ? undefined : live.get(key(entry))
    return twin ? [label(twin)] : []
  })
}
