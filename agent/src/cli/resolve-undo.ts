import type { JobParams } from '@multiboard-sync/shared/job'
import type { Policy } from '@multiboard-sync/shared/policy'
import { evaluatePolicy, policyError } from '@multiboard-sync/shared/policy-evaluate'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { AgentContext } from '../context.ts'
import { findLastJob } from './find-last-job.ts'
import type { Command } from './parse-command.ts'

/** Any job id: the policy looks at the target alone. */
const SOME_JOB = 'j000000000000'

/**
 * The job that the command `undo` means: what it leaves out is the only target of the policy, and the last job there.
 * Throws `usage` when there is no such target or several, the policy's own codes, and as findLastJob does.
 */
export async function resolveUndo(
  context: Pick<AgentContext, 'databaseUrl' | 'policy'>,
  command: Extract<Command, { name: 'undo' }>,
  signal: AbortSignal,
): Promise<JobParams> {
  const target = command.target ?? onlyTarget(context.policy)
  const verdict = evaluatePolicy(context.policy, { kind: 'undo', target, job: SOME_JOB }, { now: new Date() })
  // Before the target is asked: a denied database is not even looked at.
  if (!verdict.allowed) throw policyError(verdict)
  const job = command.job ?? (await findLastJob(context, target, signal))
  return { kind: 'undo', target, job, ...(command.reindex ? {} : { reindex: false }) }
}

function onlyTarget(policy: Policy): string {
  const targets = Object.keys(policy.databases).filter(
    (target) => evaluatePolicy(policy, { kind: 'undo', target, job: SOME_JOB }, { now: new Date() }).allowed,
  )
  const [only, ...others] = targets
  if (only !== undefined && others.length === 0) return only
  throw new SyncError('usage', only === undefined ? 'The policy has no target.' : 'The policy has several targets.', {
    hint: only === undefined ? 'Routes in agent.yaml name targets.' : `Name one: --to ${targets.join(', --to ')}.`,
  })
}
