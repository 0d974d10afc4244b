import {
  evaluatePolicy,
  policyError,
  policyViewSchema,
  type ArchiveOrigin,
  type PolicyView,
} from '@multiboard-sync/shared/policy'
import type { JobParams } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { archiveUnknown, findArchive } from '../archives/list-archives.ts'
import type { Queries } from '../store/open-database.ts'

interface Candidate {
  id: string
  policy: PolicyView
}

/**
 * The agent that shall do a job: the one asked for, else one that knows the databases and whose policy says yes.
 * This is a preview; the agent decides. Throws `agent-unknown`, `database-unknown`, `archive-unknown` and the policy's
 * own codes.
 */
export async function chooseAgent(queries: Queries, params: JobParams, asked: string | undefined): Promise<string> {
  const candidates = await readCandidates(queries, asked)
  const archive = params.kind === 'restore' ? await originOf(queries, params.archive) : undefined
  const ordered = candidates.toSorted((a, b) => Number(b.id === archive?.agent) - Number(a.id === archive?.agent))
  const refusals: SyncError[] = []
  const now = new Date()
  for (const { id, policy } of ordered) {
    // No archive was ever reported: which ones there are is for the agent to say.
    const isUnlisted =
      params.kind === 'restore' && archive === undefined && policy.databases[params.target] !== undefined
    const verdict = evaluatePolicy(policy, params, { now, archive })
    if (verdict.allowed || isUnlisted) return id
    refusals.push(policyError(verdict))
  }
  throw mostTelling(refusals)
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
  const rows = await queries.query<{ id: string; policy: unknown }>(
    `select id, policy from multiboard.agents where $1::text is null or id = $1
     order by last_seen_at desc nulls last, id`,
    [asked ?? null],
  )
  if (rows.length === 0) {
    throw new SyncError('agent-unknown', asked ? 'There is no such agent.' : 'No agent is registered.', {
      hint: "Register the agent's public key with POST /v1/agents.",
    })
  }
  const known = rows.flatMap(({ id, policy }) => {
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
