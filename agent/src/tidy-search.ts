import { toSyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from './context.ts'
import { openJournal, untidySearches } from './journal/journal.ts'
import { log } from './log.ts'
import { settleGenerations } from './reindex/full/settle-generations.ts'

/** A search server that takes longer is looked after another time: a boot does not wait for it. */
const TIMEOUT_MS = 20_000

/**
 * What jobs of dead processes, or jobs that lost the search server at the end, have left there: collections that were never
 * live are dropped by their exact names from the journal, and an alias that was to take a plain collection's name takes it.
 * Never touches a job of a living process, or what an alias points to. A server that cannot be reached is asked another time.
 */
export async function tidySearch(
  context: AgentContext,
  isAlive: (pid: number | undefined) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const untidy = (await untidySearches(context.stateDir)).filter(({ pid }) => !isAlive(pid))
  if (untidy.length === 0) return
  const patience = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)])
  try {
    await using typesense = await context.openTypesense(patience)
    for (const { job, made, adopting } of untidy) {
      const { finished, dropped, kept } = await settleGenerations(typesense, job, made, adopting)
      await using journal = await openJournal(context.stateDir, job)
      await journal.record('search-tidied', {})
      log('info', 'What a job left on the search server was put in order.', { job, finished, dropped, kept })
    }
  } catch (thrown) {
    signal.throwIfAborted()
    const { code, message, hint } = toSyncError(thrown)
    log('warning', `What a job left on the search server is still there. ${message}`, { code, hint })
  }
}
