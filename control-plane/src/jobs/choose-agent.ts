import type { JobParams } from '@multiboard-sync/shared/job'
import {
  evaluatePolicy,
  policyError,
  type ArchiveOrigin,
  type PolicyVerdict,
} from '@multiboard-sync/shared/policy-evaluate'
import { policyViewSchema, type PolicyView } from '@multiboard-sync/shared/policy-view'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { archiveUnknown, findArchive } from '../archives/list-archives.ts'
import type { Queries } from '../store/open-database.ts'

interface Candidate {
  id: string
  policy: PolicyView
}

export interface Answer {
  agent: string
  verdict: PolicyVerdict
}

/**
 * The agent that shall do a job: the one asked for, else one that knows the databases and whose policy says yes.
 * This is a preview; the agent decides. Throws `agent-unknown`, `database-unknown`, `archive-unknown` and the policy's
 * own codes.
 */
export async function chooseAgent(queries: Queries, params: JobParams, asked: string | undefined): Promise<string> {
  const answers = await askPolicies(queries, params, asked)
  const willing = answers.find(({ verdict }) => verdict.allowed)
  if (willing) return willing.agent
  throw mostTelling(answers.flatMap(({ verdict }) => (verdict.allowed ? [] : [policyError(verdict)])))
}

/**
 * What each agent would say now, as far as the control plane can know: those first that were seen last, for a restore the
 * one that wrote the archive before them. Throws `agent-unknown`, `archive-unknown`.
 */
export async function askPolicies(queries: Queries, params: JobParams, asked: string | undefined): Promise<Answer[]> {
  const candidates = await readCandidates(queries, asked)
  const archive = params.kind === 'restore' ? await originOf(queries, params.archive) : undefined
  const ordered = candidates.toSorted((a, b) => Number(b.id === archive?.agent) - Number(a.id === archive?.agent))
  const starts = 'target' in params ? await readStarts(queries, params.target) : []
  const now = new Date()
  return ordered.map(({ id, policy }) => {
    // No archive was ever reported: which ones there are is for the agent to say.
    const isUnlisted =
      params.kind === 'restore' && archive === undefined && Object.hasOwn(policy.databases, params.target)
    if (isUnlisted) return { agent: id, verdict: { allowed: true, route: undefined } }
    const begun = starts.filter(({ agent }) => agent === id).map(({ at }) => at)
    return { agent: id, verdict: evaluatePolicy(policy, params, { now, archive, begun }) }
  })
}

/** An agent that does not know a database says less than one that knows both and says no. */
function mostTelling(refusals: readonly SyncError[]): SyncError {
  const [first] = refusals.toSorted(
    (a, b) => Number(a.code === 'database-unknown') - Number(b.code === 'database-unknown'),
  )
  if (!first) throw new Error('no agent was asked')
  return first
}

async function readCandidates(queries: Queries, asked: string | undefined): Promise<Candidate[]> {
  const rows = await queries.query<{ id: string; policy: unknown; state: string }>(
    `select id, policy, state from multiboard.agents where $1::text is null or id = $1
     order by last_seen_at desc nulls last, id`,
    [asked ?? null],
  )
  if (rows.length === 0) {
    throw new SyncError('agent-unknown', asked ? 'There is no such agent.' : 'No agent is registered.', {
      hint: "Register the agent's public key with POST /v1/agents.",
    })
  }
  const active = rows.filter(({ state }) => state === 'active')
  if (active.length === 0) {
    throw new SyncError('agent-revoked', asked ? 'The agent was revoked.' : 'All agents were revoked.', {
      hint: 'Enrol an agent under a new name.',
    })
  }
  const known = active.flatMap(({ id, policy }) => {
    const parsed = policyViewSchema.safeParse(policy)
    return parsed.success ? [{ id, policy: parsed.data }] : []
  })
  if (known.length === 0) {
    throw new SyncError('agent-unknown', 'The agent has never polled, so its databases are not known.', {
      hint: 'Start the agent and ask again.',
      retryable: true,
    })
  }
  return known
}

async function originOf(queries: Queries, id: string): Promise<(ArchiveOrigin & { agent: string }) | undefined> {
  const archive = await findArchive(queries, id)
  if (archive) return archive
  const [any] = await queries.query<{ known: boolean }>('select exists (select from multiboard.archives) as known')
  if (any?.known) throw archiveUnknown('archive-unknown')
  return undefined
}

/**
 * The starts on a target that agents count, as far as they came from here: not what was refused, planned only, or put back.
 * What ended in its preflight may have begun or not: only its agent knows, and decides.
 * A job may wait a day for its start (start_within_seconds), so none that began within a day was asked for before two.
 */
async function readStarts(queries: Queries, target: string): Promise<{ agent: string; at: Date }[]> {
  return await queries.query(
    `select agent, started_at as at from multiboard.jobs
     where created_at > now() - interval '2 days' and started_at > now() - interval '1 day'
       and kind in ('sync', 'restore') and params ->> 'target' = $1 and not params ? 'dry_run' and state <> 'refused'
       and not (
         state in ('failed', 'canceled') and target_state = 'untouched' and coalesce(phase, 'preflight') = 'preflight'
       )
       and not exists (
         select from multiboard.archives
         where archives.id = jobs.params ->> 'archive' and summary ->> 'kind' = 'safety-backup'
           and summary ->> 'source' = $1
       )`,
    [target],
  )
}
