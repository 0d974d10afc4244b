import { agentIdSchema } from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { calculateJwkThumbprint } from 'jose'
import { z } from 'zod'
import { violates, type Database } from '../store/open-database.ts'

const publicJwkSchema = z.object({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'an Ed25519 public key'),
  d: z.undefined({ error: 'this is the private key: keep it on the agent and send the public one' }).optional(),
})

export const registerAgentSchema = z.strictObject({ id: agentIdSchema, public_jwk: publicJwkSchema })

/**
 * Makes an agent's public key known. The same again changes nothing; another key for a known id, or a key that belongs
 * to another agent, is a `conflict`. Answers whether the agent is new.
 */
export async function registerAgent(database: Database, input: z.output<typeof registerAgentSchema>): Promise<boolean> {
  const { kty, crv, x } = input.public_jwk
  const jwk = { kty, crv, x }
  const thumbprint = await calculateJwkThumbprint(jwk)
  const rows = await database
    .query<{ is_new: boolean; key_thumbprint: string }>(insertAgent, [input.id, JSON.stringify(jwk), thumbprint])
    .catch((error: unknown) => {
      if (violates(error, 'agents_key_thumbprint_key')) throw taken('This key belongs to another agent.')
      throw error
    })
  if (rows[0]?.key_thumbprint !== thumbprint) throw taken('This agent is registered with another key.')
  return rows[0].is_new
}

const insertAgent = `
  insert into multiboard.agents (id, public_jwk, key_thumbprint) values ($1, $2, $3)
  on conflict (id) do update set id = excluded.id
  returning xmax = 0 as is_new, key_thumbprint
`

function taken(message: string): SyncError {
  return new SyncError('conflict', message, { hint: 'Register the agent under another id, with a key of its own.' })
}
