import { setMaxListeners } from 'node:events'
import { newJobId, type JobParams } from '@multiboard-sync/shared/job'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import { newFacts, type AgentContext, type Job } from '../context.ts'
import { openJournal } from '../journal/journal.ts'
import { createTrace } from '../lanes/trace.ts'
import type { OpenedContext } from '../open-context.ts'
import { performJob } from '../perform-job.ts'
import type { Plan } from '../plan/plan.ts'
import { unlimitedLease } from '../report/lease.ts'
import { createReporter, type ReportSink } from '../report/reporter.ts'
import { settleUnfinished } from '../settle-unfinished.ts'

export interface LocalJob {
  job: Job
  result: JobResult
  plan: Plan | undefined
}

/** Runs a job for whoever sits at the agent, without a control plane: same policy, same journal, same proof. */
export async function runLocalJob(
  { context, redact }: OpenedContext,
  params: JobParams,
  options: { dryRun: boolean; sinks: ReportSink[]; signal: AbortSignal },
): Promise<LocalJob> {
  const { dryRun, signal } = options
  setMaxListeners(0, signal)
  await settleOthers(context, signal)
  const job: Job = { id: newJobId(), epoch: 1, fence: undefined, params }
  await using journal = await openJournal(context.stateDir, job.id)
  await journal.record('accepted', { params, epoch: job.epoch, fence: 0, pid: process.pid })
  const reporter = createReporter(options.sinks, { redact })
  const facts = newFacts()
  const trace = createTrace()
  const run = { reporter, lease: unlimitedLease, journal, signal, trace, dryRun, facts, isAttended: true }
  const result = await performJob(context, job, run)
  await journal.record('finished', { result })
  return { job, result, plan: facts.plan }
}

/** Jobs that a killed command left are settled here; those of a daemon that runs are left to it. */
async function settleOthers(context: AgentContext, signal: AbortSignal): Promise<void> {
  await settleUnfinished(context, signal)
}
