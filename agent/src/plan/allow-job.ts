import type { JobParams } from '@multiboard-sync/shared/job'
import type { Manifest } from '@multiboard-sync/shared/manifest'
import { evaluatePolicy, policyError, type Policy, type Route } from '@multiboard-sync/shared/policy'

/**
 * Asks the agent's own policy, whoever asked for the job. Returns the route it runs on; undefined where no route is
 * needed (an export, a safety backup put back). Throws the policy's refusal.
 */
export function allowJob(policy: Policy, params: JobParams, archive?: Manifest): Route | undefined {
  const origin = archive && { source: archive.source.database, kind: archive.kind, created_at: archive.created_at }
  const verdict = evaluatePolicy(policy, params, { now: new Date(), archive: origin })
  if (!verdict.allowed) throw policyError(verdict)
  return verdict.route
}
