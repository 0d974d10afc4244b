import { SyncError } from './sync-error.ts'
import type { JobKind, Outcome, Phase } from './job.ts'

/*
 * The states of a job, and everything that can move one. Both sides use this reducer; nothing else decides a transition.
 *
 *   queued ──lease──► leased ──accept/report──► running ──complete──► succeeded | failed | canceled
 *     │  │              │ │                      │   │
 *     │  │              │ └──refuse──► refused   │   └──cancel──► canceling ──complete──► canceled | succeeded | failed
 *     │  └─cancel─► canceled  (before a lease)   │            (not from the phase swapping on: too late; a reindex
 *     │                                          │             alone changes no database and can always be stopped)
 *     └──expire──► expired                       └──lapse──► lost ──report──► running   (same epoch, fence still newest)
 *                                                             └────complete──► what the agent's journal and the receipt say
 *
 * `expire` and `lapse` are computed when a job is read (there is no cron); they are written down at the next claim.
 */
export const jobStates = [
  'queued',
  'leased',
  'running',
  'canceling',
  'succeeded',
  'failed',
  'canceled',
  'refused',
  'expired',
  'lost',
] as const
export type JobState = (typeof jobStates)[number]

export type JobChange =
  | { type: 'lease' }
  | { type: 'accept' }
  | { type: 'refuse' }
  | { type: 'report'; cancelAsked: boolean }
  /** The phase that was reported last; null before the first report. */
  | { type: 'cancel'; phase: Phase | null; kind: JobKind }
  | { type: 'expire' }
  | { type: 'lapse' }
  | { type: 'complete'; outcome: Outcome }

/** True when nothing moves the job any more. A lost job is not finished: its agent may come back and tell the truth. */
export function isFinished(state: JobState): boolean {
  return ['succeeded', 'failed', 'canceled', 'refused', 'expired'].includes(state)
}

/** True while the job occupies its target. */
export function isActive(state: JobState): boolean {
  return ['leased', 'running', 'canceling'].includes(state)
}

/** The commit and what follows it: what is done by then is taken back by an undo, not by stopping. */
const TOO_LATE_TO_CANCEL: ReadonlySet<Phase> = new Set(['swapping', 'reindexing', 'cleanup'])

/**
 * True from the phase swapping on. An agent changes a target only when the control plane has answered a report of such a
 * phase: so it knows of every job that may have changed its target, and has refused to cancel it, or the agent has stopped.
 */
export function isTooLateToCancel(phase: Phase): boolean {
  return TOO_LATE_TO_CANCEL.has(phase)
}

/**
 * The state after a change. Throws SyncError `job-finished` when the job has ended, `too-late` for a cancel of a job that
 * has begun to swap, and `conflict` when the change does not fit the state. A second cancel changes nothing.
 */
export function nextState(state: JobState, change: JobChange): JobState {
  if (isFinished(state)) throw new SyncError('job-finished', `The job has already ended as ${state}.`)
  switch (change.type) {
    case 'lease':
      if (state === 'queued') return 'leased'
      break
    case 'expire':
      if (state === 'queued') return 'expired'
      break
    case 'refuse':
      if (state === 'leased' || state === 'lost') return 'refused'
      break
    case 'accept':
      if (state === 'leased' || state === 'running' || state === 'lost') return 'running'
      if (state === 'canceling') return 'canceling'
      break
    case 'report':
      if (isActive(state) || state === 'lost') return change.cancelAsked ? 'canceling' : 'running'
      break
    case 'cancel':
      if (state === 'queued') return 'canceled'
      if (state === 'canceling') return 'canceling'
      if (change.kind !== 'reindex' && change.phase !== null && TOO_LATE_TO_CANCEL.has(change.phase)) throw tooLate()
      if (isActive(state)) return 'canceling'
      if (state === 'lost') return 'lost'
      break
    case 'lapse':
      if (isActive(state)) return 'lost'
      break
    case 'complete':
      if (isActive(state) || state === 'lost') return change.outcome
      break
  }
  throw new SyncError('conflict', `A job that is ${state} cannot ${change.type}.`)
}

function tooLate(): SyncError {
  return new SyncError('too-late', 'The job has begun to swap: it cannot be stopped any more.', {
    hint: 'Wait for its end. If it changed its target, POST /v1/jobs/:id/undo puts the previous tables back.',
  })
}
