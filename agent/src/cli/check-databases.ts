import { formatBytes, formatNumberOf } from '@multiboard-sync/shared/sizes'
import { routeAllows } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from '../context.ts'
import { checkVersions, majorOf } from '../plan/check-target.ts'
import { checkBlockers } from '../plan/make-plan.ts'
import { missingToChange, missingToRead } from '../plan/missing-rights.ts'
import { readBlockers } from '../postgres/blockers.ts'
import { readTables, type TableInfo } from '../postgres/catalog.ts'
import { pinText } from '../postgres/check-pinned.ts'
import { checkSessions } from '../postgres/check-sessions.ts'
import type { DatabaseIdentity } from '../postgres/identity.ts'
import { openSource } from '../postgres/open-source.ts'
import { openTarget } from '../postgres/open-target.ts'
import { openSession, type Session } from '../postgres/session.ts'
import { readServerSkew, type Clocks } from './check-clocks.ts'

export interface CheckedDatabase {
  text: string
  identity: DatabaseIdentity
  /** Of all tables, without indexes. */
  bytes: number
}

/** As a source: reached, without a pooler, every right to read, a snapshot that a second session shares. */
export async function checkReading(
  context: AgentContext,
  name: string,
  clocks: Clocks,
  signal: AbortSignal,
): Promise<CheckedDatabase> {
  await meet(context, name, clocks, signal, async (session) => {
    await refuseMissing(session, await missingToRead(session), TO_READ)
  })
  await using source = await openSource(context.databaseUrl(name), 'doctor', signal)
  await using reader = await source.openReader('doctor')
  // What of this stands in a job's way depends on the tables that it names.
  const notes = (await readBlockers(reader)).map(({ kind, name: what }) => `; note: ${kind} ${what}`)
  const { serverVersion, encoding } = source.identity
  const tables = formatNumberOf(source.tables.filter((table) => table.isLeaf).length, 'table')
  const text = `PostgreSQL ${majorOf(serverVersion)}, ${encoding}, ${tables}, snapshots can be shared${notes.join('')}`
  return { text, identity: source.identity, bytes: bytesOf(source.tables) }
}

/** As a target: reached, without a pooler, free, every right on what routes may change there. */
export async function checkWriting(
  context: AgentContext,
  name: string,
  clocks: Clocks,
  signal: AbortSignal,
): Promise<CheckedDatabase> {
  // Before the lock is taken: behind a pooler it would stay where it was taken, and keep every job away.
  await meet(context, name, clocks, signal)
  await using target = await openTarget(context.databaseUrl(name), signal)
  const { session, identity } = target
  const tables = await readTables(session)
  const oids = changeable(context, name, tables).map(({ oid }) => oid)
  await refuseMissing(session, await missingToChange(session, oids), TO_CHANGE)
  await checkBlockers(target)
  const major = majorOf(identity.serverVersion)
  const text = `PostgreSQL ${major}, accepts writes, no other job works on it, schemas may be created`
  return { text, identity, bytes: bytesOf(tables) }
}

/** What is asked of any database first, over a session of its own that changes nothing. */
async function meet(
  context: AgentContext,
  name: string,
  clocks: Clocks,
  signal: AbortSignal,
  ask?: (session: Session) => Promise<void>,
): Promise<void> {
  const database = context.databaseUrl(name)
  await using session = await openSession(database, { purpose: 'doctor', signal, readOnly: true })
  clocks.set(`the server of ${name}`, await readServerSkew(session))
  await checkSessions(database, session, signal)
  await ask?.(session)
}

/** Versions that fit each other, and the room that a swap takes, which no SQL can look for. Throws `target-older`. */
export function checkRoute(source: CheckedDatabase, target: CheckedDatabase): string {
  checkVersions(source.identity.serverVersion, target.identity.serverVersion)
  const [from, to] = [majorOf(source.identity.serverVersion), majorOf(target.identity.serverVersion)]
  return `PostgreSQL ${from} to ${to}; a swap of all tables takes some ${formatBytes(source.bytes)} and their indexes on the target's disk, whose free space SQL cannot show`
}

/** Lines to paste into agent.yaml, so that a URL that is pointed elsewhere is noticed (checkPinned). */
export function fingerprintText({ policy }: AgentContext, name: string, identity: DatabaseIdentity): string {
  const { system_identifier, database_oid } = policy.databases[name] ?? {}
  if (system_identifier !== undefined && database_oid !== undefined) return 'as pinned in agent.yaml'
  return [`not pinned; to pin it, add under databases.${name} in agent.yaml:`, ...pinText(identity)].join('\n        ')
}

const TO_READ =
  "grant usage on the schemas and select on all their tables and sequences to the agent's role; from PostgreSQL 14 on, grant pg_read_all_data does both."
const TO_CHANGE =
  "grant create on the database and its schemas to the agent's role, and make it a member of the role that owns the tables."

async function refuseMissing(session: Session, missing: string[], hint: string): Promise<void> {
  if (missing.length === 0) return
  throw new SyncError('permission-denied', `The agent's role lacks rights in "${session.database}".`, {
    hint,
    details: missing,
  })
}

/** Tables that some route lets a job change. */
function changeable({ policy }: AgentContext, name: string, tables: TableInfo[]): TableInfo[] {
  const routes = policy.routes.filter(({ to }) => to === name)
  const byOid = new Map(tables.map((table) => [table.oid, table]))
  const lineage = (table: TableInfo): TableInfo[] => {
    const parent = table.parentOid === null ? undefined : byOid.get(table.parentOid)
    return parent ? [table, ...lineage(parent)] : [table]
  }
  return tables.filter(
    (table) =>
      (table.kind === 'r' || table.kind === 'p') &&
      table.extension === null &&
      routes.some((route) => routeAllows(route, lineage(table))),
  )
}

function bytesOf(tables: TableInfo[]): number {
  return tables.reduce((sum, table) => sum + table.tableBytes, 0)
}
