import { hashCode, verifyKeyProof, type EnrollReply, type EnrollRequest } from '@multiboard-sync/shared/agent-key'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { appendAudit } from '../audit/append-audit.ts'
import type { ControlPlane } from '../control-plane.ts'
import { violates, type Queries } from '../store/open-database.ts'

/**
 * Makes the proven key the one of the agent that the code was made for: a new agent, or a known one that has lost its key
 * or was revoked, whose keys before are void at once. A code counts once, whoever is faster; the winner may ask again
 * with the same key, because the answer may have been lost. Throws `enrollment-refused`, `conflict`.
 */
export async function enrollAgent(control: ControlPlane, request: EnrollRequest): Promise<EnrollReply> {
  const { database, origin, signer } = control
  const proven = await verifyKeyProof(request, { code: request.code, origin })
  const code = hashCode(request.code)
  try {
    return await database.transaction(async (transaction) => {
      const agent = await consume(transaction, code)
      if (agent === undefined) {
        const known = await findWinner(transaction, code, proven.kid)
        if (known === undefined) throw refused()
        return { agent: known, signing_kid: signer.kid }
      }
      await transaction.query(takeKey, [agent, JSON.stringify(proven.jwk), proven.kid])
      const detail = { kid: proven.kid }
      await appendAudit(transaction, {
        actor: `agent:${agent}`,
        action: 'agent.enrolled',
        object: `agent:${agent}`,
        detail,
      })
      return { agent, signing_kid: signer.kid }
    })
  } catch (error) {
    if (violates(error, 'agents_key_thumbprint_key')) {
      throw new SyncError('conflict', 'This key belongs to another agent.', {
        hint: 'Let AGENT_KEY_FILE name a file of its own for each agent, and enrol again: the code is still good.',
      })
    }
    throw error
  }
}

/** One statement: of any number at once, PostgreSQL lets one see the row as unused. */
async function consume(transaction: Queries, code: Buffer): Promise<string | undefined> {
  const [row] = await transaction.query<{ agent: string }>(
    `update multiboard.enrollments set used_at = now()
     where code_sha256 = $1 and used_at is null and expires_at > now() returning agent`,
    [code],
  )
  return row?.agent
}

async function findWinner(transaction: Queries, code: Buffer, kid: string): Promise<string | undefined> {
  const [row] = await transaction.query<{ agent: string }>(
    `select e.agent from multiboard.enrollments e join multiboard.agents a on a.id = e.agent
     where e.code_sha256 = $1 and e.expires_at > now() and a.key_thumbprint = $2 and a.state = 'active'`,
    [code, kid],
  )
  return row?.agent
}

const takeKey = `
  insert into multiboard.agents (id, public_jwk, key_thumbprint) values ($1, $2, $3)
  on conflict (id) do update set
    public_jwk = excluded.public_jwk, key_thumbprint = excluded.key_thumbprint,
    previous_jwk = null, previous_thumbprint = null, previous_until = null,
    state = 'active', revoked_at = null, revoked_by = null
`

/** The same for a code that never was, was used, or is too old: nobody can find out which. */
function refused(): SyncError {
  return new SyncError('enrollment-refused', 'The code is not known, was used, or is older than ten minutes.', {
    hint: 'Ask an admin for a new one: POST /v1/enrollments {"agent": …}.',
  })
}
