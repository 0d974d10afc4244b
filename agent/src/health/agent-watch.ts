import type { JobParams } from '@multiboard-sync/shared/job'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import type { SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import type { Lease } from '../report/lease.ts'
import type { ReportSink } from '../report/reporter.ts'

/*
 * What the daemon tells of itself to those who watch whether it is well: the sign of life on the disk, the listener, the
 * metrics. Watching decides nothing, waits for nothing, throws nothing, and hears of names, numbers and codes alone.
 */

interface WatchedJob {
  id: string
  params: JobParams
  lease: Lease
}

interface JobWatch {
  sinks: ReportSink[]
  ended(result: JobResult): void
}

export interface AgentWatch {
  /** What a crash or a failed turn has left is settled, before the next poll. */
  settling(): void
  /** The control plane has answered a poll. */
  polled(): void
  /** A turn of the loop has ended with this. */
  failed(code: SyncErrorCode): void
  orderRefused(code: SyncErrorCode): void
  jobBegan(job: WatchedJob): JobWatch
  /** The first signal: no new job begins. */
  draining(): void
}

/** Several as one, in their order. */
export function watchTogether(watches: readonly AgentWatch[]): AgentWatch {
  const all = (tell: (watch: AgentWatch) => void): void => {
    for (const watch of watches) tell(watch)
  }
  return {
    settling: () => all((watch) => watch.settling()),
    polled: () => all((watch) => watch.polled()),
    failed: (code) => all((watch) => watch.failed(code)),
    orderRefused: (code) => all((watch) => watch.orderRefused(code)),
    draining: () => all((watch) => watch.draining()),
    jobBegan: (job) => {
      const jobs = watches.map((watch) => watch.jobBegan(job))
      return {
        sinks: jobs.flatMap(({ sinks }) => sinks),
        ended: (result) => {
          for (const watched of jobs) watched.ended(result)
        },
      }
    },
  }
}
