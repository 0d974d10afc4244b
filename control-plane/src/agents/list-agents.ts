import type { Database } from '../store/open-database.ts'

interface AgentRow {
  id: string
  key_thumbprint: string
  created_at: Date
  last_seen_at: Date | null
  version: string | null
  policy_sha256: string | null
  trusted_kids: string[]
  databases: unknown[]
}

/** All agents, as people see them. */
export async function listAgents(database: Database) {
  return await database.query<AgentRow>(`
    select id, key_thumbprint, created_at, last_seen_at, version, policy_sha256, trusted_kids, databases
    from multiboard.agents order by id
  `)
}
