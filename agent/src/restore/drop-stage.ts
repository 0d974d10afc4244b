import { retry } from '@multiboard-sync/shared/retry'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { Target } from '../postgres/open-target.ts'
import { openSession } from '../postgres/session.ts'
import type { RestoreRun } from './load.ts'
import { dropAside, readAsides, type Aside } from './stage/aside.ts'

/** A canceled job's own sessions are cut, and the server takes some seconds to notice. */
const ATTEMPTS = 6
const TIMEOUT_MS = 60_000

/**
 * Drops the stage (and the hold) of a job that failed before its commit. What cannot be dropped now is told, stays in the journal as not
 * tidied, and is dropped after the next job or at the next boot. Never throws: the job's own error is the one to tell.
 */
export async function dropStage(target: Target, stage: Aside, run: RestoreRun): Promise<void> {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const options = { signal, attempts: ATTEMPTS, firstDelayMs: 200, maxDelayMs: 3_000 }
  try {
    await retry(options, async () => {
      await using session = await openSession(target.database, { purpose: 'tidy', signal })
      for (const aside of await readAsides(session)) {
        if (aside.job === stage.job && aside.kind !== 'previous') await dropAside(session, aside)
      }
    })
    await run.journal.record('tidied', {})
  } catch (thrown) {
    const { code, message } = toSyncError(thrown)
    run.reporter.event('stage.left', { code, message, schemas: [...stage.schemas.values()] }, 'warning')
  }
}
