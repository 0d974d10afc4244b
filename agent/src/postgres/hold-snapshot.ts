import { SyncError } from '@multiboard-sync/shared/sync-error'
import { quoteLiteral } from './quote.ts'
import { openSession, type DatabaseUrl, type Session } from './session.ts'

/*
 * Keeps an exported snapshot alive for as long as a job reads from it.
 *
 * Promises: from the first reader on a second session, the spare, holds the same snapshot under a name of its own, and the
 * same locks; when the first is lost the spare takes its place and another spare is opened. Neither goes idle.
 * Never: takes a newer snapshot. When both are lost at once the rows of that moment are gone, and every reader is told so;
 * readers that live on keep the snapshot and not the locks, so whoever has read asks stand() at the end.
 *
 *     first ──exports──▶ name 1 ◀──imports── spare ──exports──▶ name 2     first lost: readers import name 2 instead
 */

/** Managed hosts end idle transactions after a minute or less. */
const PING_MS = 10_000
/** A server that takes longer for `select 1` is gone, or its network is. */
const PING_TIMEOUT_MS = 30_000

/** A session and the name under which its transaction exports the snapshot; the name ends with the transaction. */
export interface Holder {
  readonly session: Session
  readonly snapshotId: string
}

export interface HeldSnapshot extends AsyncDisposable {
  /** The one in charge now. */
  readonly holder: Holder
  /** As Source.openReader(). */
  openReader(purpose: string, signal: AbortSignal): Promise<Session>
  /** As Source.stand(). */
  stand(): Promise<void>
}

/** `lockSql` is run in each further holder, so that the tables are locked without a gap; '' for none. */
export function holdSnapshot(database: DatabaseUrl, first: Holder, lockSql: string, signal: AbortSignal): HeldSnapshot {
  let holder = first
  let spare: Holder | undefined
  let opening: Promise<void> | undefined
  let looking: Promise<void> | undefined
  let isWanted = false
  const stopOpening = new AbortController()
  const timer = setInterval(() => void tend(), PING_MS).unref()

  async function openSpare(): Promise<void> {
    const until = AbortSignal.any([signal, stopOpening.signal])
    const of = holder
    const session = await openSession(database, {
      purpose: 'spare snapshot',
      signal: until,
      readOnly: true,
      patient: true,
    })
    try {
      await importSnapshot(session, of.snapshotId)
      if (lockSql !== '') await session.run(lockSql)
      const [row] = await session.query<{ id: string }>('select pg_export_snapshot() as id')
      // The lock may have waited behind a TRUNCATE that waited for the holder: only one that still lives leaves no gap.
      if (!(await isAlive(of.session))) throw lostSnapshot(database)
      if (row) spare = { session, snapshotId: row.id }
    } catch (error) {
      session.destroy()
      throw error
    }
  }

  /** Without a spare the job goes on as it would have without one; the next ping tries again. */
  function wantSpare(): void {
    if (!isWanted || spare || opening) return
    opening = openSpare()
      .catch(() => undefined)
      .finally(() => (opening = undefined))
  }

  /** Looks whether the holder lives, and puts the spare in its place when it does not. */
  async function look(): Promise<void> {
    if (await isAlive(holder.session)) return
    await opening
    if (!spare || !(await isAlive(spare.session))) throw lostSnapshot(database)
    holder.session.destroy()
    holder = spare
    spare = undefined
    wantSpare()
  }

  async function lookTogether(): Promise<void> {
    await (looking ??= look().finally(() => (looking = undefined)))
  }

  /** A snapshot that is lost shows itself to the next reader; a ping has nobody to tell. */
  async function tend(): Promise<void> {
    try {
      await lookTogether()
    } catch {
      return clearInterval(timer)
    }
    const tended = spare
    if (tended && !(await isAlive(tended.session))) {
      tended.session.destroy()
      if (spare === tended) spare = undefined
    }
    wantSpare()
  }

  async function shareSnapshot(reader: Session): Promise<void> {
    const { snapshotId } = holder
    try {
      return await importSnapshot(reader, snapshotId)
    } catch (cause) {
      if (cause instanceof SyncError && cause.code === 'connection-lost') throw cause
      await lookTogether()
      if (holder.snapshotId === snapshotId) {
        throw new SyncError('database-pooler', `A second connection to "${database.name}" cannot share the snapshot.`, {
          hint: 'Use a direct URL of one server, not a connection pooler or a load balancer.',
          cause,
        })
      }
    }
    await reader.run('rollback')
    await importSnapshot(reader, holder.snapshotId)
  }

  return {
    get holder() {
      return holder
    },
    async openReader(purpose, until) {
      const reader = await openSession(database, { purpose, signal: until, readOnly: true, patient: true })
      try {
        await shareSnapshot(reader)
        isWanted = true
        wantSpare()
        return reader
      } catch (error) {
        reader.destroy()
        throw error
      }
    },
    stand: lookTogether,
    async [Symbol.asyncDispose]() {
      clearInterval(timer)
      isWanted = false
      if (opening) stopOpening.abort(new SyncError('canceled', 'The snapshot is needed no longer.'))
      await opening
      await Promise.all([holder.session.close(), spare?.session.close()])
    },
  }
}

/**
 * In one message. Slices are read by ranges of ctid; a role or database that has this switched off would read the table
 * for each.
 */
async function importSnapshot(session: Session, snapshotId: string): Promise<void> {
  await session.run(`begin isolation level repeatable read read only;
    set transaction snapshot ${quoteLiteral(snapshotId)};
    set enable_tidscan = on`)
}

async function isAlive(session: Session): Promise<boolean> {
  const late = setTimeout(() => session.destroy(), PING_TIMEOUT_MS)
  try {
    await session.query('select 1')
    return true
  } catch {
    return false
  } finally {
    clearTimeout(late)
  }
}

function lostSnapshot(database: DatabaseUrl): SyncError {
  return new SyncError('connection-lost', `Nobody holds the snapshot of "${database.name}" any more.`, {
    hint: 'Both sessions that held it were ended: was the server restarted, or does it end idle sessions? Start the job again.',
    retryable: true,
  })
}
