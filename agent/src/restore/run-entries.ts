import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { DumpEntry } from '../postgres/dump-entries.ts'
import type { Session } from '../postgres/session.ts'

/**
 * Runs pg_dump's own entries unchanged, one simple query each. The preamble is never sent: it would reset our
 * timeouts. `SET default_…` lines are state and are sent before the entry they stand for.
 * Throws the session's errors with the entry's kind and name in front.
 */
export async function runEntries(session: Session, entries: DumpEntry[], signal: AbortSignal): Promise<void> {
  let settings = ''
  for (const entry of entries) {
    signal.throwIfAborted()
    try {
      if (entry.settings !== settings) await session.run(entry.settings)
      settings = entry.settings
      await session.run(entry.sql)
    } catch (error) {
      if (!(error instanceof SyncError)) throw error
      const what = `${entry.type.toLowerCase()} ${entry.schema === '' ? '' : `${entry.schema}.`}${entry.name}`
      throw new SyncError(error.code, `Making ${what} failed: ${error.message}`, {
        hint: error.hint,
        retryable: error.retryable,
        details: error.details,
        cause: error.cause,
      })
    }
  }
}
