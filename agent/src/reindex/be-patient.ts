import { patiently, type Patience as Waiting } from '../typesense/patiently.ts'
import type { ReindexRun } from './reindex-run.ts'

/** How a reindex waits for a search server that is busy or away, and says so: once in the events, and in the progress. */
export interface Patience extends Pick<Waiting, 'signal' | 'onWaiting' | 'giveUpAfterMs'> {
  /** Calls again while the error is retryable. What is called must bear that the call before was done after all. */
  ask: <T>(work: () => Promise<T>, giveUpAfterMs?: number) => Promise<T>
  /** For those that wait by themselves: it goes on. */
  onGoing: () => void
}

export function bePatient(run: Pick<ReindexRun, 'reporter' | 'signal' | 'giveUpAfterMs'>, alias: string): Patience {
  let isWaiting = false
  const onGoing = (): void => {
    if (isWaiting) run.reporter.progress({ table: alias, waitingFor: undefined })
    isWaiting = false
  }
  const waiting: Waiting = {
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
    ...waiting,
    ask: async (work, giveUpAfterMs) => {
      const answer = await patiently(work, { ...waiting, ...(giveUpAfterMs === undefined ? {} : { giveUpAfterMs }) })
      onGoing()
      return answer
    },
    onGoing,
  }
}
