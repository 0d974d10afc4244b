import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readTables, type TableInfo } from './catalog.ts'
import { holdSnapshot } from './hold-snapshot.ts'
import { readIdentity, type DatabaseIdentity } from './identity.ts'
import { quoteTable } from './quote.ts'
import { openSession, type DatabaseUrl, type Session } from './session.ts'

/*
 * Export, first step: one moment in the life of a database, which every reader of this job shares.
 *
 * Promises: all rows and the schema text come from the same exported snapshot; the tables are locked in ACCESS SHARE
 * mode before that snapshot is taken, so that no swap or TRUNCATE can leave a reader with an empty table; once there are
 * readers, two sessions hold both, so that one of them may break.
 * Never: writes to the source, holds a row lock, lets the snapshot go idle until a managed host ends it.
 */

/** A migration between reading the catalogue and locking its tables makes us look again, this often at most. */
const SNAPSHOT_ATTEMPTS = 3

export interface Source extends AsyncDisposable {
  readonly database: DatabaseUrl
  readonly identity: DatabaseIdentity
  /** The catalogue under the snapshot: every table of the user's schemas. */
  readonly tables: TableInfo[]
  /** The session that holds the snapshot now; fit for catalogue queries. */
  readonly holder: Session
  /** The snapshot's name now; it goes with its holder. */
  readonly snapshotId: string
  /**
   * A further session in a read-only transaction on the same snapshot, which ends with the signal, or else with the job's.
   * Throws what openSession() throws, `database-pooler`, and `connection-lost` when nobody holds the snapshot any more.
   */
  openReader(purpose: string, signal?: AbortSignal): Promise<Session>
  /**
   * Makes sure, when all was read, that snapshot and locks were held without a gap. Throws `connection-lost`: a reader may
   * have found a table empty that somebody has truncated.
   */
  stand(): Promise<void>
}

/** Opens a database for reading at one exported snapshot. Throws the session's errors and `lock-timeout`. */
export async function openSource(database: DatabaseUrl, purpose: string, signal: AbortSignal): Promise<Source> {
  const holder = await openSession(database, { purpose, signal, readOnly: true })
  try {
    const { tables, snapshotId } = await takeSnapshot(holder)
    const identity = await readIdentity(holder)
    const locks = lockSql(lockable(tables))
    const held = holdSnapshot(database, { session: holder, snapshotId }, locks, signal)
    return {
      database,
      identity,
      tables,
      get holder() {
        return held.holder.session
      },
      get snapshotId() {
        return held.holder.snapshotId
      },
      openReader: async (readerPurpose, until = signal) => await held.openReader(readerPurpose, until),
      stand: async () => await held.stand(),
      [Symbol.asyncDispose]: async () => await held[Symbol.asyncDispose](),
    }
  } catch (error) {
    holder.destroy()
    throw error
  }
}

async function takeSnapshot(holder: Session): Promise<{ tables: TableInfo[]; snapshotId: string }> {
  for (let attempt = 1; attempt <= SNAPSHOT_ATTEMPTS; attempt += 1) {
    const before = lockable(await readTables(holder))
    await holder.run('begin isolation level repeatable read read only')
    // LOCK TABLE takes no snapshot: the first query after it does (PostgreSQL docs, LOCK, "Notes").
    if (before.length > 0) await holder.run(lockSql(before))
    const [row] = await holder.query<{ id: string }>('select pg_export_snapshot() as id')
    const tables = await readTables(holder)
    if (row && sameOids(before, lockable(tables))) return { tables, snapshotId: row.id }
    await holder.run('rollback')
  }
  throw new SyncError('schema-changed', 'Tables keep being created or dropped while the export tries to begin.', {
    hint: 'Start the job again when the migration is over.',
    retryable: true,
  })
}

/** '' for no tables. */
function lockSql(tables: TableInfo[]): string {
  return tables.length === 0 ? '' : `lock table ${tables.map(quoteTable).join(', ')} in access share mode`
}

function lockable(tables: TableInfo[]): TableInfo[] {
  return tables.filter((table) => table.kind === 'r' || table.kind === 'p')
}

function sameOids(a: TableInfo[], b: TableInfo[]): boolean {
  const oids = new Set(a.map((table) => table.oid))
  return a.length === b.length && b.every((table) => oids.has(table.oid))
}
