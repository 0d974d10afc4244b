import type { JobParams } from '@multiboard-sync/shared/job'
import type { Manifest } from '@multiboard-sync/shared/manifest'
import type { Route } from '@multiboard-sync/shared/policy'
import { evaluatePolicy, policyError } from '@multiboard-sync/shared/policy-evaluate'
import type { AgentContext, Job, JobRun } from '../context.ts'
import { readStarts } from '../journal/journal.ts'

type Asked = Pick<AgentContext, 'policy' | 'stateDir'>

/**
 * Asks the agent's own policy, whoever asked for the job. Returns the route it runs on; undefined where no route is
 * needed (an export, a safety backup put back). Throws the policy's refusal.
 */
export async function allowJob(
  { policy, stateDir }: Asked,
  params: JobParams,
  archive?: Manifest,
): Promise<Route | undefined> {
  const now = new Date()
  const origin = archive && { source: archive.source.database, kind: archive.kind, created_at: archive.created_at }
  const starts = 'target' in params ? await readStarts({ policy, stateDir }, now) : undefined
  const begun = 'target' in params ? starts?.get(params.target) : undefined
  const verdict = evaluatePolicy(policy, params, { now, archive: origin, begun })
  if (!verdict.allowed) throw policyError(verdict)
  return verdict.route
}

/**
 * Begins a job on its target: asks the policy once more, under the target's lock, so that of two jobs that were allowed at
 * once only one begins, and writes the start down before anything is done. A dry run begins nothing, and what needs no
 * route (allowJob) does not count. Throws the policy's refusal.
 */
export async function beginJob(
  context: Asked,
  { params }: Job,
  { journal, dryRun }: Pick<JobRun, 'journal' | 'dryRun'>,
  archive?: Manifest,
): Promise<Route | undefined> {
  const route = await allowJob(context, params, archive)
  if (route && !dryRun) await journal.record('begun', { target: route.to })
  return route
}
