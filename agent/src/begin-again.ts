import { retry } from '@multiboard-sync/shared/retry'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { JobRun } from './context.ts'
import type { Journal } from './journal/journal.ts'
import { isCutShort } from './postgres/connect.ts'

/** A line that breaks four times within seconds is not to be worked over. */
const RETRY = { attempts: 4, firstDelayMs: 500, maxDelayMs: 4_000 }

/**
 * Runs a job, and runs it again from its beginning when a connection to a database was cut before the job had written
 * anything anywhere: while it read and planned. What comes after, in the journal or by its phase, gets over cuts by itself
 * or has to be looked at: a job's phases never go back.
 */
export async function beginAgain(run: JobRun, attempt: (run: JobRun) => Promise<void>): Promise<void> {
  let hasBegun = false
  let hasWritten = false
  const record: Journal['record'] = async (step, data) => {
    if (step === 'begun') {
      // Told once: the policy counts how often jobs are begun.
      if (hasBegun) return
      hasBegun = true
    } else hasWritten = true
    await run.journal.record(step, data)
  }
  const journal: Journal = { record, [Symbol.asyncDispose]: async () => await run.journal[Symbol.asyncDispose]() }
  const reporter: JobRun['reporter'] = {
    ...run.reporter,
    phase: (phase) => {
      if (phase !== 'preflight') hasWritten = true
      run.reporter.phase(phase)
    },
  }
  const onRetry = (thrown: unknown) => {
    const { code, message } = toSyncError(thrown)
    run.reporter.event('job.begun-again', { code, message }, 'warning')
  }
  const outcome = await retry({ signal: run.signal, ...RETRY, onRetry }, async () => {
    try {
      await attempt({ ...run, journal, reporter, isBegun: hasBegun })
      return undefined
    } catch (thrown) {
      if (!hasWritten && isCutShort(thrown)) throw thrown
      return { thrown }
    }
  })
  if (outcome) throw outcome.thrown
}
