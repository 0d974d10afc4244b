import type { JobEvent } from '@multiboard-sync/shared/event'
import { isActive, isFinished } from '@multiboard-sync/shared/job-state'
import { setTimeout as sleep } from 'node:timers/promises'
import { readJob, stateNow, viewJob, type JobRow } from '../jobs/job-row.ts'
import type { Database } from '../store/open-database.ts'
import { listEvents } from './list-events.ts'

/*
 * One job's events as Server-Sent Events, read from the database by short looks: no connection is held between them.
 *
 * Promises: each event once and in order, its `id` being its position, so that a client which reconnects with
 * Last-Event-ID misses nothing. First the state as it is: `progress`, then `job`, both without an id, because they are
 * state and not log. `end` with the job when everything was sent. Reads on only as fast as the client takes.
 * Never: an error's text to the client; more in memory than one page of events.
 */

export interface StreamTimes {
  /** Between two looks while a job is at work. */
  pollMs: number
  /** Of silence, until a comment keeps the line alive: proxies and functions cut silent streams after some 30 s. */
  heartbeatMs: number
  /** Until the stream ends by itself and the client comes back: functions are cut at 300 s. */
  rotateMs: number
}

export const defaultStreamTimes: StreamTimes = { pollMs: 500, heartbeatMs: 15_000, rotateMs: 240_000 }

const RECONNECT_MS = 2000
/** When the control plane stops: long enough for a new one to listen, and spread, so that not all come back at once. */
const RESTART_MS = [3000, 8000] as const
// An event has 16 KiB at most: a viewer that does not read holds less than a megabyte.
const PAGE = 50

/** Yields frames, ready to be written, from after `after`. Ends when the job has ended, at rotation, or on `signal`. */
export async function* streamEvents(
  database: Database,
  first: JobRow,
  after: number,
  times: StreamTimes,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  const startedAt = performance.now()
  let position = after
  let job = first
  let shown = stateOf(job)
  let shownProgress = job.progress_rev
  let silentSince = performance.now()
  yield `retry: ${RECONNECT_MS}\n\n${job.progress ? frame('progress', job.progress) : ''}${frame('job', viewJob(job))}`
  while (!signal.aborted) {
    const events = job.last_pos > position ? await listEvents(database, job.id, position, PAGE) : []
    if (events.length > 0) {
      position = events.at(-1)?.pos ?? position
      yield events.map(eventFrame).join('')
    }
    const changes = [
      job.progress && job.progress_rev !== shownProgress ? frame('progress', job.progress) : '',
      stateOf(job) === shown ? '' : frame('job', viewJob(job)),
    ].join('')
    shown = stateOf(job)
    shownProgress = job.progress_rev
    if (changes !== '') yield changes
    const isComplete = position >= job.last_pos
    if (isComplete && isFinished(stateNow(job))) return yield frame('end', viewJob(job))
    const now = performance.now()
    if (now - startedAt >= times.rotateMs) return
    if (events.length > 0 || changes !== '') silentSince = now
    if (now - silentSince >= times.heartbeatMs) {
      yield ': still here\n\n'
      silentSince = now
    }
    // More pages wait: no pause between them.
    if (isComplete && !(await pause(waitMs(job, times), signal))) break
    job = await readJob(database, job.id)
  }
  // Only a stop of ours is heard; a client that has left reads nothing.
  const [leastMs, mostMs] = RESTART_MS
  yield `retry: ${Math.round(leastMs + (mostMs - leastMs) * Math.random())}\n\n`
}

function waitMs(job: JobRow, { pollMs }: StreamTimes): number {
  return isActive(stateNow(job)) ? pollMs : 2 * pollMs
}

/** False when the signal came first. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await sleep(ms, undefined, { signal })
    return true
  } catch (error) {
    if (signal.aborted) return false
    throw error
  }
}

/** What a viewer of the job's head would see change. */
function stateOf(job: JobRow): string {
  return [stateNow(job), job.phase, job.cancel_requested_at?.toISOString(), job.code].join(' ')
}

function eventFrame(event: JobEvent): string {
  // The name is always `event`: a type could collide with EventSource's own `error` or `open`.
  return `id: ${event.pos}\n${frame('event', event)}`
}

/** JSON has no line breaks of its own, so one data line is enough. */
function frame(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
