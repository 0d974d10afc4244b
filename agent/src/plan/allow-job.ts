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
  { dryRun, isBegun }: Pick<JobRun, 'dryRun' | 'isBegun'>,
  archive?: Manifest,
): Promise<Route | undefined> {
  const now = new Date()
  const origin = archive && { source: archive.source.database, kind: archive.kind, created_at: archive.created_at }
  const starts = 'target' in params && isBegun !== true ? await readStarts({ policy, stateDir }, now) : undefined
  const begun = 'target' in params ? starts?.get(params.target) : undefined
  // How the job is run decides, not what its parameters say: the command line has another word for it.
  const asRun = { ...params, dry_run: dryRun ? (true as const) : undefined }
  const verdict = evaluatePolicy(policy, asRun, { now, archive: origin, begun })
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
  run: Pick<JobRun, 'journal' | 'dryRun' | 'isBegun'>,
  archive?: Manifest,
): Promise<Route | undefined> {
  const route = await allowJob(context, params, run, archive)
  if (route && !run.dryRun) await run.journal.record('begun', { target: route.to })
  return route
}
