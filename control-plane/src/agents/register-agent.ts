import { publicJwkSchema } from '@multiboard-sync/shared/agent-key'
import { agentIdSchema } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { calculateJwkThumbprint } from 'jose'
import { z } from 'zod'
import { appendAudit } from '../audit/append-audit.ts'
import { violates, type Database } from '../store/open-database.ts'

export const registerAgentSchema = z.strictObject({ id: agentIdSchema, public_jwk: publicJwkSchema })

/**
 * Makes an agent's public key known. The same again changes nothing; another key for a known id, a key that belongs to
 * another agent, or an agent that was revoked, is a `conflict`. Answers whether the agent is new.
 */
export async function registerAgent(
  database: Database,
  input: z.output<typeof registerAgentSchema>,
  by: string,
): Promise<boolean> {
  const { kty, crv, x } = input.public_jwk
  const jwk = { kty, crv, x }
  const thumbprint = await calculateJwkThumbprint(jwk)
  try {
    return await database.transaction(async (transaction) => {
      const [row] = await transaction.query<Registered>(insertAgent, [input.id, JSON.stringify(jwk), thumbprint])
      if (row?.key_thumbprint !== thumbprint) throw taken('This agent is registered with another key.')
      if (row.state !== 'active') {
        throw new SyncError('conflict', 'This agent was revoked.', {
          hint: 'Let it in again with POST /v1/enrollments.',
        })
      }
      if (row.is_new) {
        const entry = {
          actor: by,
          action: 'agent.registered',
          object: `agent:${input.id}`,
          detail: { kid: thumbprint },
        }
        await appendAudit(transaction, entry)
      }
      return row.is_new
    })
  } catch (error) {
    if (violates(error, 'agents_key_thumbprint_key')) throw taken('This key belongs to another agent.')
    throw error
  }
}

interface Registered {
  is_new: boolean
  key_thumbprint: string
  state: string
}

const insertAgent = `
  insert into multiboard.agents (id, public_jwk, key_thumbprint) values ($1, $2, $3)
  on conflict (id) do update set id = excluded.id
  returning xmax = 0 as is_new, key_thumbprint, state
`

function taken(message: string): SyncError {
  return new SyncError('conflict', message, {
    hint: 'Register the agent under another id, with a key of its own; POST /v1/enrollments gives an agent a new key.',
  })
}
