import type { SyncError } from '@multiboard-sync/shared/sync-error'
import { patiently } from '../typesense/patiently.ts'
import type { ReindexRun } from './reindex-run.ts'

/** How a reindex waits for a search server that is busy or away, and says so: once in the events, and in the progress. */
export interface BeingPatient {
  /** Calls again while the error is retryable. What is called must bear that the call before was done after all. */
  ask: <T>(work: () => Promise<T>, giveUpAfterMs?: number) => Promise<T>
  /** For those that wait by themselves. */
  waiting: { signal: AbortSignal; onWaiting: (error: SyncError, waitedMs: number) => void; giveUpAfterMs?: number }
  /** It goes on. */
  goesOn: () => void
}

export function bePatient(run: Pick<ReindexRun, 'reporter' | 'signal' | 'giveUpAfterMs'>, alias: string): BeingPatient {
  let isWaiting = false
  const goesOn = (): void => {
    if (isWaiting) run.reporter.progress({ table: alias, waitingFor: undefined })
    isWaiting = false
  }
  const waiting: BeingPatient['waiting'] = {
    signal: run.signal,
    onWaiting: (error, waitedMs) => {
      if (isWaiting) return
      isWaiting = true
      run.reporter.event('search.waiting', { alias, seconds: Math.round(waitedMs / 1000), code: error.code })
      run.reporter.progress({ table: alias, waitingFor: 'Typesense' })
    },
    ...(run.giveUpAfterMs === undefined ? {} : { giveUpAfterMs: run.giveUpAfterMs }),
  }
  return {
    ask: async (work, giveUpAfterMs) => {
      const answer = await patiently(work, { ...waiting, ...(giveUpAfterMs === undefined ? {} : { giveUpAfterMs }) })
      goesOn()
      return answer
    },
    waiting,
    goesOn,
  }
}
