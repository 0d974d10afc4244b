import type { Progress } from '@multiboard-sync/shared/event'
import { jobIdSchema, type JobParams, type Phase, type TargetState } from '@multiboard-sync/shared/job'
import { isActive, nextState, type JobState } from '@multiboard-sync/shared/job-state'
import type { JobResult, JobView } from '@multiboard-sync/shared/protocol'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Queries } from '../store/open-database.ts'

/** A row of multiboard.jobs, and the database's clock when it was read. */
export interface JobRow {
  id: string
  agent: string
  kind: JobParams['kind']
  params: JobParams
  requested_by: string
  created_at: Date
  start_before: Date
  state: JobState
  target_state: TargetState
  exclusive_key: string
  epoch: number
  fence: number | null
  lost_at: Date | null
  phase: Phase | null
  stalled_ms: number | null
  progress: Progress | null
  progress_rev: number
  cancel_requested_at: Date | null
  last_pos: number
  last_aseq: number
  started_at: Date | null
  finished_at: Date | null
  result: JobResult | null
  code: string | null
  message: string | null
  hint: string | null
  /** The job that undid this one. */
  undone_by: string | null
  read_at: Date
}

/** By the index jobs_undos, and only where there can be one. */
const undoneBy = `
  case when jobs.state = 'succeeded' then (
    select undo.id from multiboard.jobs undo
    where undo.kind = 'undo' and undo.params ->> 'job' = jobs.id
      and undo.state = 'succeeded' and undo.target_state = 'changed'
    order by undo.created_at limit 1
  ) end`

const columnsWith = (result: string): string => `
  id, agent, kind, params, requested_by, created_at, start_before, state, target_state, exclusive_key, epoch, fence,
  lost_at, phase, stalled_ms, progress, progress_rev, cancel_requested_at, last_pos, last_aseq, started_at, finished_at,
  ${result} as result, code, message, hint, ${undoneBy} as undone_by, now() as read_at
`

/** Columns of a JobRow of multiboard.jobs, for a statement in which it bears its own name. */
export const jobColumns = columnsWith('result')

/** The same without what makes a result long: a page of a hundred jobs with thousands of tables each would be too much. */
export const jobColumnsForLists = columnsWith("result - 'plan' - 'proof'")

/** To be followed by `from multiboard.jobs …`. */
export const selectJob = `select ${jobColumns}`

/** Reads a job without locking it. Throws `not-found`. */
export async function readJob(queries: Queries, id: string): Promise<JobRow> {
  const [job] = await queries.query<JobRow>(`${selectJob} from multiboard.jobs where id = $1`, [id])
  if (!job) throw jobUnknown()
  return job
}

/** Reads the job that a path names. What is not a job id is not asked of the database. Throws `not-found`. */
export async function findJobByPath(queries: Queries, id: string): Promise<JobRow> {
  return await readJob(queries, requireJobId(id))
}

export function requireJobId(id: string): string {
  if (!jobIdSchema.safeParse(id).success) throw jobUnknown()
  return id
}

export function jobUnknown(): SyncError {
  return new SyncError('not-found', 'There is no such job.', { hint: 'List the jobs with GET /v1/jobs.' })
}

/** The state by the clock: there is no cron, so what has run out is seen when it is read. */
export function stateNow(job: Pick<JobRow, 'state' | 'lost_at' | 'start_before' | 'read_at'>): JobState {
  if (isActive(job.state) && job.lost_at && job.lost_at < job.read_at) return nextState(job.state, { type: 'lapse' })
  if (job.state === 'queued' && job.start_before < job.read_at) return nextState(job.state, { type: 'expire' })
  return job.state
}

/** What can be said of the target when nobody reports any more: from loading on, only the agent knows. */
export function targetStateWhenLost(job: Pick<JobRow, 'params' | 'phase'>): TargetState {
  const isHarmless = job.phase === null || ['preflight', 'exporting', 'backing-up'].includes(job.phase)
  return changesNoDatabase(job.params) || isHarmless ? 'untouched' : 'unknown'
}

/** True for what changes no database: exports, the search alone, and plans that are not carried out. */
function changesNoDatabase({ kind, dry_run }: JobParams): boolean {
  return kind === 'export' || kind === 'reindex' || dry_run === true
}

/** A job as people see it. */
export function viewJob(job: JobRow): JobView {
  const state = stateNow(job)
  return {
    id: job.id,
    agent: job.agent,
    params: job.params,
    state,
    phase: job.phase,
    target_state: state === 'lost' ? targetStateWhenLost(job) : job.target_state,
    requested_by: job.requested_by,
    created_at: job.created_at.toISOString(),
    started_at: job.started_at?.toISOString() ?? null,
    finished_at: job.finished_at?.toISOString() ?? null,
    cancel_requested_at: job.cancel_requested_at?.toISOString() ?? null,
    start_before: job.start_before.toISOString(),
    stalled_ms: job.stalled_ms,
    progress: job.progress,
    result: job.result,
    undone_by: job.undone_by,
    code: job.code,
    message: job.message,
    hint: job.hint,
  }
}
