import type { JobKind, Phase } from '@multiboard-sync/shared/job'
import { formatSeconds } from '@multiboard-sync/shared/sizes'

/*
 * The daemon's sign of life, and whether it is well by it. Three things are told apart: a process that is gone or whose event
 * loop hangs writes no newer sign; a loop that waits for something for ever does not turn; a control plane that does not
 * answer is no fault of this process, and ending it would not help.
 */

export const HEARTBEAT_FILE = 'alive.json'

/** All times are ISO 8601. */
export interface Heartbeat {
  /** When it was written, at least every 15 seconds. */
  at: string
  pid: number
  agent: string
  version: string
  boot_id: string
  started_at: string
  doing: 'settling' | 'polling' | 'job'
  /** When the loop last turned: a poll was answered, or something failed and is tried again. */
  turned_at: string
  /** Null before the first. */
  last_poll_ok_at: string | null
  /** The code with which the last turn ended; null after a good one. */
  failed_with: string | null
  /** A first signal has come: no new job begins. */
  draining: boolean
  job?: {
    id: string
    kind: JobKind
    phase: Phase
    began_at: string
    /** When something of it last moved. */
    moved_at: string
  }
}

const FORMS: Record<string, (value: unknown) => boolean> = {
  at: isTime,
  pid: Number.isInteger,
  agent: isText,
  version: isText,
  started_at: isTime,
  doing: (value) => ['settling', 'polling', 'job'].includes(String(value)),
  turned_at: isTime,
  last_poll_ok_at: (value) => value === null || isTime(value),
  failed_with: (value) => value === null || isText(value),
  job: (value) => value === undefined || (isRecord(value) && isText(value['id']) && isTime(value['moved_at'])),
}

/** Undefined for what no daemon of ours has written. By hand, without zod: who asks for health is to be small. */
export function parseHeartbeat(text: string): Heartbeat | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isOurs = isRecord(value) && Object.entries(FORMS).every(([field, isForm]) => isForm(value[field]))
    return isOurs ? (value as unknown as Heartbeat) : undefined
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}

function isTime(value: unknown): boolean {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

/** A heartbeat is written four times in that time: one that is late alone makes nobody restart anything. */
export const DEFAULT_MAX_AGE_MS = 60_000
/** Every wait between two polls ends: the longest, of a revoked agent, after five minutes; telling ends of jobs takes two each. */
const POLLING_STUCK_MS = 30 * 60_000
/** Dropping what a crash has left, and validating the foreign keys of large tables. */
const SETTLING_STUCK_MS = 2 * 3600_000
/** Ten idle polls. */
const UNANSWERED_MS = 120_000
/** As the job itself tells it (report/stall-watch.ts). */
const STALLED_MS = 5 * 60_000

export interface Verdict {
  isWell: boolean
  /** What is wrong, or worth knowing: whole sentences. */
  remarks: string[]
}

/** Whether the daemon is well by its last sign of life. */
export function judgeHeartbeat(heartbeat: Heartbeat, now: Date, maxAgeMs: number = DEFAULT_MAX_AGE_MS): Verdict {
  const sinceMs = (at: string): number => now.getTime() - Date.parse(at)
  // One from the future was written before the clock was set back: the next one puts it right.
  const ageMs = Math.abs(sinceMs(heartbeat.at))
  if (ageMs > maxAgeMs) {
    return {
      isWell: false,
      remarks: [`The last sign of life is ${inWords(ageMs)} old: the daemon is gone, or its event loop hangs.`],
    }
  }
  const { doing, job, last_poll_ok_at: answeredAt, failed_with: code } = heartbeat
  if (doing === 'job' && job) {
    const stalledMs = sinceMs(job.moved_at)
    const stalled = `Nothing of the job has moved for ${inWords(stalledMs)}: one statement can take long. Its events tell what it waits for.`
    return { isWell: true, remarks: stalledMs > STALLED_MS ? [stalled] : [] }
  }
  const turnedMs = sinceMs(heartbeat.turned_at)
  if (turnedMs > (doing === 'settling' ? SETTLING_STUCK_MS : POLLING_STUCK_MS)) {
    return { isWell: false, remarks: [`The daemon's loop has not turned for ${inWords(turnedMs)}.`] }
  }
  const unansweredMs = sinceMs(answeredAt ?? heartbeat.started_at)
  if (unansweredMs <= UNANSWERED_MS && code === null) return { isWell: true, remarks: [] }
  const why = code === null ? '' : ` (${code})`
  const since =
    answeredAt === null ? 'has not answered since the daemon began' : `last answered ${inWords(unansweredMs)} ago`
  return {
    isWell: true,
    remarks: [`The control plane ${since}${why}. Restarting the daemon does not help; its log has the hint.`],
  }
}

/** True when it can take an order: what an earlier process left is settled, and the last poll was answered. */
export function isReady({ doing, last_poll_ok_at: answeredAt, failed_with: code, draining }: Heartbeat): boolean {
  return doing !== 'settling' && answeredAt !== null && code === null && !draining
}

/** One line: who lives, and what it does. */
export function heartbeatText(heartbeat: Heartbeat, now: Date): string {
  const { agent, job, doing, pid, version } = heartbeat
  const who = `The daemon of agent ${agent} (version ${version}, pid ${pid}) gave its last sign of life`
  const ago = inWords(Math.abs(now.getTime() - Date.parse(heartbeat.at)))
  const what = job
    ? `runs the ${job.kind} ${job.id}, ${job.phase}`
    : doing === 'settling'
      ? 'settles what was left'
      : 'polls'
  return `${who} ${ago} ago; it ${what}${heartbeat.draining ? ', and stops after that' : ''}.`
}

function inWords(ms: number): string {
  return formatSeconds(ms / 1000)
}
