import { SyncError } from '@multiboard-sync/shared/sync-error'
import { findLeaks } from '../../postgres/leak-check.ts'
import type { Session } from '../../postgres/session.ts'
import { dropAside, readAsides, type FoundAside } from '../stage/aside.ts'

/** Nobody reads the previous tables but a vacuum or a backup of the whole database; neither is waited for long. */
const LOCK_TIMEOUT_MS = 2_000

interface KeptPrevious {
  job: string
  reasons: string[]
}

/** The replaced tables that are kept in this database, whichever job has replaced them. */
export async function listPrevious(session: Session): Promise<FoundAside[]> {
  return (await readAsides(session)).filter(({ kind }) => kind === 'previous')
}

/**
 * Drops the replaced tables of all jobs but these, each job's in one transaction, RESTRICT. That alone is no guard: a
 * constraint trigger or a publication's row that points to a table goes with it without a word. So nothing is dropped that
 * anything outside still points to; it is kept, and the answer says why. Throws what ends a session.
 */
export async function dropPrevious(
  session: Session,
  keepJobs: string[],
): Promise<{ dropped: string[]; kept: KeptPrevious[] }> {
  const dropped: string[] = []
  const kept: KeptPrevious[] = []
  for (const aside of (await listPrevious(session)).filter(({ job }) => !keepJobs.includes(job))) {
    const reasons = await dropOnePrevious(session, aside)
    if (reasons.length === 0) dropped.push(aside.job)
    else kept.push({ job: aside.job, reasons })
  }
  return { dropped, kept }
}

const PASSING = new Set(['lock-timeout', 'permission-denied', 'query-failed'])

/** Drops one job's replaced tables. Answers why not, when something outside still points to them or they are in use. */
export async function dropOnePrevious(session: Session, aside: FoundAside): Promise<string[]> {
  await session.run(`begin; set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
  try {
    const leaks = await findLeaks(session, [...aside.schemas.values()])
    if (leaks.length === 0) await dropAside(session, aside)
    await session.run(leaks.length === 0 ? 'commit' : 'rollback')
    return leaks
  } catch (error) {
    if (!(error instanceof SyncError) || !PASSING.has(error.code)) throw error
    await session.run('rollback')
    return [error.message]
  }
}
