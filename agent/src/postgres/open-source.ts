import { setInterval } from 'node:timers'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readTables, type TableInfo } from './catalog.ts'
import { readIdentity, type DatabaseIdentity } from './identity.ts'
import { quoteLiteral, quoteTable } from './quote.ts'
import { openSession, type DatabaseUrl, type Session } from './session.ts'

/*
 * Export, first step: one moment in the life of a database, which every reader of this job shares.
 *
 * Promises: all rows and the schema text come from the same exported snapshot; the tables are locked in ACCESS SHARE
 * mode before that snapshot is taken, so that no swap or TRUNCATE can leave a reader with an empty table.
 * Never: writes to the source, holds a row lock, lets the snapshot go idle until a managed host ends it.
 */

/** Managed hosts end idle transactions after a minute or less; a ping every ten seconds keeps the snapshot alive. */
const PING_MS = 10_000
/** A migration between reading the catalogue and locking its tables makes us look again, this often at most. */
const SNAPSHOT_ATTEMPTS = 3

export interface Source extends AsyncDisposable {
  readonly database: DatabaseUrl
  readonly identity: DatabaseIdentity
  /** The catalogue under the snapshot: every table of the user's schemas. */
  readonly tables: TableInfo[]
  /** The session that holds the snapshot; fit for catalogue queries. */
  readonly holder: Session
  readonly snapshotId: string
  /** A further session in a read-only transaction on the same snapshot. */
  openReader(purpose: string): Promise<Session>
}

/** Opens a database for reading at one exported snapshot. Throws the session's errors and `lock-timeout`. */
export async function openSource(database: DatabaseUrl, purpose: string, signal: AbortSignal): Promise<Source> {
  const holder = await openSession(database, { purpose, signal, readOnly: true })
  try {
    const { tables, snapshotId } = await takeSnapshot(holder)
    const identity = await readIdentity(holder)
    const pings = keepAlive(holder)
    return {
      database,
      identity,
      tables,
      holder,
      snapshotId,
      openReader: async (readerPurpose) => await openReader(database, readerPurpose, snapshotId, signal),
      [Symbol.asyncDispose]: async () => {
        clearInterval(pings)
        await holder.close()
      },
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
    if (before.length > 0) await holder.run(`lock table ${before.map(quoteTable).join(', ')} in access share mode`)
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

function lockable(tables: TableInfo[]): TableInfo[] {
  return tables.filter((table) => table.kind === 'r' || table.kind === 'p')
}

function sameOids(a: TableInfo[], b: TableInfo[]): boolean {
  const oids = new Set(a.map((table) => table.oid))
  return a.length === b.length && b.every((table) => oids.has(table.oid))
}

function keepAlive(holder: Session): NodeJS.Timeout {
  const timer = setInterval(() => {
    // A lost holder shows itself in every reader's next query; the ping itself has nobody to tell.
    holder.query('select 1').catch(() => clearInterval(timer))
  }, PING_MS)
  return timer.unref()
}

async function openReader(
  database: DatabaseUrl,
  purpose: string,
  snapshotId: string,
  signal: AbortSignal,
): Promise<Session> {
  const reader = await openSession(database, { purpose, signal, readOnly: true })
  try {
    await reader.run('begin isolation level repeatable read read only')
    await reader.run(`set transaction snapshot ${quoteLiteral(snapshotId)}`)
    return reader
  } catch (cause) {
    reader.destroy()
    throw new SyncError('database-pooler', `A second connection to "${database.name}" cannot share the snapshot.`, {
      hint: 'Use a direct URL of one server, not a connection pooler or a load balancer.',
      cause,
    })
  }
}
