import { verifyKeyProof, type RotateReply, type RotateRequest } from '@multiboard-sync/shared/agent-key'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { appendAudit } from '../audit/append-audit.ts'
import type { ControlPlane } from '../control-plane.ts'
import { violates } from '../store/open-database.ts'

/** Long enough that a daemon which still holds the old key is restarted in time, by a person and in daylight. */
const PREVIOUS_LIVES_HOURS = 24

interface Keys {
  key_thumbprint: string
  previous_thumbprint: string | null
  previous_until: Date | null
}

/**
 * Makes the proven key the agent's current one; the one before is taken for another day. Asked again, by either of them,
 * it answers the same. Only the current key may bring a new one: who has stolen an older one cannot. Throws
 * `enrollment-refused`, `conflict`.
 */
export async function rotateKey(
  { database, origin }: ControlPlane,
  agent: { id: string; kid: string },
  request: RotateRequest,
): Promise<RotateReply> {
  const { id } = agent
  const proven = await verifyKeyProof(request, { agent: id, origin })
  try {
    return await database.transaction(async (transaction) => {
      const [before] = await transaction.query<Keys>(
        `select key_thumbprint, previous_thumbprint, previous_until from multiboard.agents where id = $1 for update`,
        [id],
      )
      if (before?.key_thumbprint === proven.kid) return replyOf(before)
      if (before?.key_thumbprint !== agent.kid) throw conflict('Only the current key may bring a new one.')
      if (before.previous_thumbprint === proven.kid) throw conflict('A key that was replaced does not come back.')
      const values = [id, JSON.stringify(proven.jwk), proven.kid, PREVIOUS_LIVES_HOURS]
      const [after] = await transaction.query<Keys>(writeKey, values)
      if (!after) throw new Error('writing a key returned no row')
      await appendAudit(transaction, {
        actor: `agent:${id}`,
        action: 'agent.key-rotated',
        object: `agent:${id}`,
        detail: { kid: proven.kid, previous_kid: before.key_thumbprint },
      })
      return replyOf(after)
    })
  } catch (error) {
    if (violates(error, 'agents_key_thumbprint_key') || violates(error, 'agents_previous_thumbprint_key')) {
      throw conflict('This key belongs to another agent.')
    }
    throw error
  }
}

const writeKey = `
  update multiboard.agents set
    previous_jwk = public_jwk, previous_thumbprint = key_thumbprint,
    previous_until = date_trunc('milliseconds', now() + $4 * interval '1 hour'),
    public_jwk = $2, key_thumbprint = $3
  where id = $1
  returning key_thumbprint, previous_thumbprint, previous_until
`

function replyOf({ key_thumbprint, previous_until }: Keys): RotateReply {
  return { kid: key_thumbprint, previous_until: previous_until?.toISOString() ?? null }
}

function conflict(message: string): SyncError {
  return new SyncError('conflict', message, {
    hint: 'Run `rotate-key` on the agent; if its key is lost, enrol it anew with POST /v1/enrollments.',
  })
}
