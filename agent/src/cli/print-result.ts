import type { JobResult } from '@multiboard-sync/shared/protocol'
import { formatBytes, formatNumberOf, formatSeconds } from '@multiboard-sync/shared/sizes'
import type { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Job } from '../context.ts'

/** What a job command prints as its last line with --json; other programs build on these names. */
export function resultJson(job: Job, result: JobResult): string {
  const { outcome, code, hint, message, details, engine, target_state, tables, rows, bytes, seconds, peak_rss_mb } =
    result
  return JSON.stringify({
    outcome,
    code: code ?? null,
    message: message ?? null,
    hint: hint ?? null,
    details: details ?? [],
    job: job.id,
    kind: job.params.kind,
    engine: engine ?? null,
    archive: result.archive?.id ?? null,
    safety_backup: result.safety_backup?.id ?? null,
    target_state,
    tables,
    rows,
    bytes,
    seconds,
    peak_rss_mb,
  })
}

const TARGET_STATES = {
  untouched: 'The target was not touched.',
  rolled_back: 'The target is as it was: everything was rolled back.',
  changed: 'The target holds the new rows.',
  unknown: 'It is not known whether the target was changed.',
}

/** A job's end for people. */
export function resultText(job: Job, result: JobResult): string {
  const { outcome, archive, safety_backup, engine } = result
  const lines = [`${job.params.kind} ${outcome} in ${formatSeconds(result.seconds)}`]
  if (result.message) lines.push(...errorLines(result))
  if (job.params.kind !== 'export') lines.push(TARGET_STATES[result.target_state])
  if (archive) {
    lines.push(
      `archive        ${archive.id}  (${formatBytes(archive.compressed_bytes)} stored, ${formatBytes(archive.bytes)} of rows)`,
    )
  }
  if (safety_backup) lines.push(`safety backup  ${safety_backup.id}`)
  if (outcome === 'succeeded') {
    const proof = engine ? `, each table proven in the target (engine ${engine})` : ''
    lines.push(
      `proven         ${formatNumberOf(result.rows, 'row')} in ${formatNumberOf(result.tables, 'table')}${proof}`,
    )
  }
  return lines.join('\n')
}

/** An error for people: what, each finding, and what to do. */
export function errorText(error: SyncError): string {
  return errorLines(error).join('\n')
}

function errorLines(error: Pick<JobResult, 'code' | 'message' | 'hint' | 'details'>): string[] {
  return [
    `${error.code}: ${error.message}`,
    ...(error.details ?? []).map((detail) => `  - ${detail}`),
    ...(error.hint ? [`hint: ${error.hint}`] : []),
  ]
}
