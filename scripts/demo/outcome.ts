import { resultJson } from '../../agent/src/cli/print-result.ts'
import type { JobParams, Outcome } from '../../shared/src/job.ts'
import type { JobResult, JobView } from '../../shared/src/protocol.ts'
import { toSyncError } from '../../shared/src/sync-error.ts'
import type { Found } from './search-parts.ts'

export interface DemoEnd {
  /** Absent when the demo failed before there was a job. */
  job: { id: string; params: JobParams } | undefined
  result: JobResult
  /** What was found through the alias before the sync, and after it; absent where the demo has no collection. */
  found?: { before: Found[]; after: Found[] }
}

const exitCodes: Record<Outcome, number> = { succeeded: 0, failed: 1, canceled: 1, refused: 3 }

/** As the agent's own commands exit. */
export function exitCodeOf({ outcome, search }: JobResult): number {
  return outcome === 'succeeded' && search?.state === 'stale' ? 4 : exitCodes[outcome]
}

/** How the job ended, as the agent reported it, or as the control plane knows it when no report came. */
export function endOfJob(view: JobView): DemoEnd {
  const { id, params, state, result, code, message, hint, target_state } = view
  const known = {
    ...nothing,
    outcome: state === 'refused' || state === 'canceled' ? state : ('failed' as const),
    code: code ?? state,
    message: message ?? `The job has ended as ${state}.`,
    ...(hint === null ? {} : { hint }),
    target_state,
  }
  return { job: { id, params }, result: result ?? known }
}

/** The end of a demo that broke before its job had ended, or before there was one. */
export function endOfFailure(thrown: unknown, job: DemoEnd['job']): DemoEnd {
  const { code, message, hint, details } = toSyncError(thrown)
  const outcome = code === 'canceled' ? 'canceled' : 'failed'
  // Nobody has told us how far a job came that was begun.
  const target_state = job === undefined ? 'untouched' : 'unknown'
  return { job, result: { ...nothing, target_state, outcome, code, message, hint, details } }
}

const nothing = { target_state: 'untouched', tables: 0, rows: 0, bytes: 0, seconds: 0, peak_rss_mb: 0 } as const

/** The one object of --json: the same names as the agent's own, and what searches found. */
export function outcomeJson({ job, result, found }: DemoEnd): string {
  const { id, params } = job ?? placeholder
  const fields = JSON.parse(resultJson({ id, params, epoch: 0, fence: undefined }, result)) as Record<string, unknown>
  return JSON.stringify({ ...fields, job: job?.id ?? null, found: found ?? null })
}

const placeholder = {
  id: '',
  params: { kind: 'sync', source: 'production', target: 'staging', engine: 'auto' },
} as const
