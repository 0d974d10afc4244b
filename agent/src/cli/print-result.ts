import type { JobParams } from '@multiboard-sync/shared/job'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import type { CollectionResult } from '@multiboard-sync/shared/search'
import { formatBytes, formatCount, formatNumberOf, formatSeconds } from '@multiboard-sync/shared/sizes'
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
    undoable: result.undoable ?? null,
    late_writes: result.late_writes ?? null,
    proof: result.proof ?? null,
    search: result.search ?? null,
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
  const { outcome, archive, safety_backup } = result
  const { params } = job
  const lines = [`${params.kind} ${outcome} in ${formatSeconds(result.seconds)}`]
  // A reindex says of each collection why it is stale.
  if (result.message && !(params.kind === 'reindex' && result.search)) lines.push(...errorLines(result))
  if (params.kind !== 'export' && params.kind !== 'reindex') lines.push(targetText(params, result))
  if (archive) {
    lines.push(
      `archive        ${archive.id}  (${formatBytes(archive.compressed_bytes)} stored, ${formatBytes(archive.bytes)} of rows)`,
    )
  }
  if (safety_backup) lines.push(`safety backup  ${safety_backup.id}`)
  if (outcome === 'succeeded' && (params.kind === 'export' || result.proof)) lines.push(proofText(result))
  if (result.late_writes) {
    const rows = formatNumberOf(result.late_writes, 'row')
    lines.push(`late writes    ${rows} written to the replaced tables meanwhile: kept there, not in the new ones`)
  }
  lines.push(...searchLines(result))
  if (result.undoable && 'target' in params) lines.push(`undo: pnpm agent undo --to ${params.target} ${job.id}`)
  return lines.join('\n')
}

/** A line a collection; what is stale first, with what to do. */
function searchLines({ search }: JobResult): string[] {
  if (!search) return []
  const stale = search.collections.filter(({ state }) => state === 'stale')
  const fresh = search.collections.filter(({ state }) => state === 'fresh')
  return [
    ...stale.flatMap(({ alias, mode, reason, code, message, details = [], hint }) => [
      `search         ${alias} is STALE (${mode}: ${reason})`,
      `  ${code ?? 'unknown'}: ${message ?? ''}`,
      ...details.map((detail) => `  - ${detail}`),
      ...(hint ? [`  hint: ${hint}`] : []),
    ]),
    ...fresh.map((collection) => `search         ${freshText(collection)}`),
  ]
}

function freshText({ alias, mode, reason, documents = 0, upserted, deleted, seconds }: CollectionResult): string {
  const done = {
    full: 'made anew',
    incremental: `${formatCount(upserted)} sent, ${formatCount(deleted)} deleted`,
    'pointed-back': 'pointed back',
  }[mode]
  return `${alias}: ${formatNumberOf(documents, 'document')}, ${done} in ${formatSeconds(seconds)} (${reason})`
}

function targetText(params: JobParams, { target_state }: JobResult): string {
  const isPutBack = params.kind === 'undo' && target_state === 'changed'
  return isPutBack ? `The target holds what ${params.job} had replaced.` : TARGET_STATES[target_state]
}

/** The proof may list fewer tables than there were; what it says of their checksums is said of those. */
function proofText({ rows, tables, proof, engine }: JobResult): string {
  const compared = proof?.filter(({ checksum }) => checksum === 'equal').length ?? 0
  const checksums =
    compared === proof?.length
      ? 'checksums equal'
      : compared === 0
        ? 'row counts equal'
        : `row counts equal, checksums of ${formatCount(compared)} of them, too`
  const found = proof ? `, ${checksums}${engine ? ` (engine ${engine})` : ''}` : ''
  return `proven         ${formatNumberOf(rows, 'row')} in ${formatNumberOf(tables, 'table')}${found}`
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
