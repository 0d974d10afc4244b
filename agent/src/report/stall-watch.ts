import type { Progress } from '@multiboard-sync/shared/event'
import type { Phase } from '@multiboard-sync/shared/job'
import type { JsonRecord } from './redact.ts'

/** Long enough for a slow object store to answer again, short enough to be told within one coffee. */
const STALLED_AFTER_MS = 5 * 60_000

/** Phases that count rows, bytes or documents all the time. In the others one statement may take an hour. */
const ALWAYS_MOVES: ReadonlySet<Phase> = new Set(['exporting', 'backing-up', 'loading', 'reindexing'])

/** `job.stalled` or `job.moving`, to be written down. */
export interface StallNews {
  type: 'job.stalled' | 'job.moving'
  level: 'warning' | 'info'
  data: JsonRecord
}

/** What moves a job: a phase, an event, or progress in which something has grown. */
export interface StallWatch {
  /** `waitingFor`: who is known to keep the job waiting from now on. */
  moved(nowMs: number, phase: Phase, waitingFor?: string): StallNews | undefined
  /** Says once that nothing has moved for five minutes. `progress`: the latest. */
  look(nowMs: number, progress: Progress | undefined): StallNews | undefined
  stalledMs(nowMs: number): number
}

/**
 * Whether a job that is alive gets anywhere. A warning where something should move all the time; where one statement may
 * take long, or a lock or the search server is waited for, it is told without one. It decides nothing.
 */
export function createStallWatch(nowMs: number): StallWatch {
  let movedAtMs = nowMs
  let current: Phase = 'preflight'
  let waiting: string | undefined
  let isTold = false
  const secondsUntil = (now: number): number => Math.round((now - movedAtMs) / 1000)
  return {
    moved: (now, phase, waitingFor) => {
      const news: StallNews | undefined = isTold
        ? { type: 'job.moving', level: 'info', data: { phase: current, seconds: secondsUntil(now) } }
        : undefined
      movedAtMs = now
      current = phase
      waiting = waitingFor
      isTold = false
      return news
    },
    look: (now, progress) => {
      if (isTold || now - movedAtMs < STALLED_AFTER_MS) return undefined
      isTold = true
      const waiting_for = waiting ?? progress?.waiting_for
      const table = progress?.phase === current ? progress.table : undefined
      return {
        type: 'job.stalled',
        level: ALWAYS_MOVES.has(current) && waiting_for === undefined ? 'warning' : 'info',
        data: {
          phase: current,
          seconds: secondsUntil(now),
          ...(table === undefined ? {} : { table }),
          ...(waiting_for === undefined ? {} : { waiting_for }),
        },
      }
    },
    stalledMs: (now) => Math.max(0, Math.round(now - movedAtMs)),
  }
}
