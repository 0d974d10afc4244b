import type { JobResult } from '@multiboard-sync/shared/protocol'
import type { Outcome, Phase } from '@multiboard-sync/shared/job'
import { isRefusal, toSyncError, type SyncError, type SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import { beginAgain } from './begin-again.ts'
import type { AgentContext, Job, JobFacts, JobRun } from './context.ts'
import type { Trace } from './lanes/trace.ts'
import { writeTrace } from './lanes/write-trace.ts'
import { logFailure } from './log.ts'
import { peakMemoryBytes } from './peak-memory.ts'
import { viewOf } from './plan/view-of.ts'
import { clipError } from './report/clip-error.ts'
import type { Reporter } from './report/reporter.ts'
import { runJob } from './run-job.ts'

/** What the agent's own log is needed for: the error's text says too little. */
const NEEDS_CAUSE: ReadonlySet<SyncErrorCode> = new Set(['internal', 'query-failed', 'storage-failed', 'load-failed'])

/** Tables whose proof travels with the result; the events tell of all. */
const MAX_PROOF = 2000

/** Runs a job to its end and says what became of it. Never throws: this is the one place that logs a failed job. */
export async function performJob(context: AgentContext, job: Job, run: JobRun): Promise<JobResult> {
  const startedMs = performance.now()
  let error: SyncError | undefined
  const phases = tracePhases(run.reporter, run.trace)
  try {
    const watched = { ...run, reporter: phases.reporter }
    await beginAgain(watched, async (again) => await runJob(context, job, again))
  } catch (thrown) {
    error = toSyncError(run.signal.aborted ? run.signal.reason : thrown)
    // What the target says about a commit weighs more than that somebody wanted to cancel it.
    if (thrown !== null && toSyncError(thrown).code === 'outcome-unknown') error = toSyncError(thrown)
    if (error.code === 'outcome-unknown') run.facts.targetState = 'unknown'
    // This run has changed nothing, an earlier one has: the receipt says so.
    if (error.code === 'already-done') run.facts.targetState = 'changed'
    if (run.isAttended !== true || NEEDS_CAUSE.has(error.code)) logFailure(job.id, error)
  }
  phases.end()
  await keepTrace(context, job, run)
  const result = toResult(run.facts, error, (performance.now() - startedMs) / 1000)
  run.reporter.event(
    'job.ended',
    { outcome: result.outcome, target_state: result.target_state },
    error ? 'error' : 'info',
  )
  return result
}

/** Notes on lane 0 when which phase began and ended. */
function tracePhases(reporter: Reporter, trace: Trace): { reporter: Reporter; end: () => void } {
  let current: { phase: Phase; end: () => void } | undefined
  const begin = (phase: Phase): void => {
    if (current?.phase === phase) return
    current?.end()
    const end = trace.begin(0, 'phase', phase)
    current = { phase, end: () => end('ended') }
  }
  return {
    reporter: {
      ...reporter,
      phase: (phase) => {
        begin(phase)
        reporter.phase(phase)
      },
    },
    end: () => current?.end(),
  }
}

/** For who looks for the critical path; a disk that does not take it changes nothing about the job. */
async function keepTrace(context: AgentContext, { id: job, params }: Job, run: JobRun): Promise<void> {
  if (run.dryRun) return
  try {
    const lanes = context.policy.limits.connections_per_database
    await writeTrace(context.stateDir, { job, kind: params.kind, lanes, spans: run.trace.spans() })
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown'
    run.reporter.event('trace.not-kept', { code }, 'warning')
  }
}

function toResult(facts: JobFacts, error: SyncError | undefined, seconds: number): JobResult {
  const decided = facts.plan ?? facts.exportPlan
  const decidedView = facts.planView ?? (decided && viewOf(decided))
  const plan = decidedView && (facts.searchPlan ? { ...decidedView, search: facts.searchPlan } : decidedView)
  return {
    outcome: error ? outcomeOf(error, facts) : 'succeeded',
    ...(error ? clipError(error) : {}),
    ...(facts.engine ? { engine: facts.engine } : {}),
    target_state: facts.targetState,
    ...(facts.receipt ? { receipt: facts.receipt } : {}),
    ...(facts.archive ? { archive: facts.archive } : {}),
    ...(facts.safetyBackup ? { safety_backup: facts.safetyBackup } : {}),
    ...(plan ? { plan } : {}),
    ...(facts.proof ? { proof: facts.proof.slice(0, MAX_PROOF) } : {}),
    ...(facts.undoable === undefined ? {} : { undoable: facts.undoable }),
    ...(facts.lateWrites === undefined ? {} : { late_writes: facts.lateWrites }),
    ...(facts.search ? { search: facts.search } : {}),
    tables: facts.tables,
    rows: facts.rows,
    bytes: facts.bytes,
    seconds: Math.round(seconds * 100) / 100,
    peak_rss_mb: Math.round(peakMemoryBytes() / 1e6),
  }
}

function outcomeOf(error: SyncError, facts: JobFacts): Outcome {
  if (error.code === 'canceled') return 'canceled'
  return isRefusal(error.code) && facts.targetState === 'untouched' ? 'refused' : 'failed'
}
