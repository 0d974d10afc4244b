import type { Database } from '../store/open-database.ts'

interface AgentRow {
  id: string
  state: 'active' | 'revoked'
  /** It has called within the last minute, or holds a lease that has not run out. */
  alive: boolean
  key_thumbprint: string
  /** So long the key before is taken, too; null when there is none. */
  previous_key_until: Date | null
  created_at: Date
  revoked_at: Date | null
  revoked_by: string | null
  last_seen_at: Date | null
  /** How far its clock was ahead of ours at its last poll, to about a second; requests pass up to 30 s ahead, 60 s behind. */
  clock_skew_ms: number | null
  version: string | null
  policy_sha256: string | null
  trusted_kids: string[]
  /** Whether it would obey what we sign now; null when it has never polled. */
  trusts_signing_key: boolean | null
  databases: unknown[]
}

/** Five idle polls. During a job an agent does not poll, and its lease says that it lives. */
const ALIVE_SECONDS = 60

/** All agents, as people see them. */
export async function listAgents(database: Database, signingKid: string) {
  return await database.query<AgentRow>(selectAgents, [signingKid, ALIVE_SECONDS])
}

const selectAgents = `
  select id, state,
    state = 'active' and (
      coalesce(last_seen_at > now() - $2 * interval '1 second', false)
      or exists (
        select from multiboard.jobs
        where agent = agents.id and state in ('leased', 'running', 'canceling') and lease_expires_at > now()
      )
    ) as alive,
    key_thumbprint, case when previous_until > now() then previous_until end as previous_key_until,
    created_at, revoked_at, revoked_by, last_seen_at, clock_skew_ms, version, policy_sha256, trusted_kids,
    case when last_seen_at is not null then trusted_kids ? $1 end as trusts_signing_key,
    databases
  from multiboard.agents order by id
`
