import { SyncError } from '@multiboard-sync/shared/sync-error'
import { appendAudit } from '../audit/append-audit.ts'
import type { Database } from '../store/open-database.ts'
import { expireOpenCodes } from './make-enrollment.ts'

/**
 * Takes nothing from this agent any more, from its next call on, whatever key it signs with; its open codes are void, too.
 * What it holds is left to run out: its jobs are shown as lost after their lease. A second time changes nothing.
 * Throws `not-found`.
 */
export async function revokeAgent(
  database: Database,
  id: string,
  by: string,
): Promise<{ id: string; state: 'revoked'; revoked_at: Date }> {
  return await database.transaction(async (transaction) => {
    await expireOpenCodes(transaction, id)
    const [done] = await transaction.query<{ revoked_at: Date }>(
      `update multiboard.agents set state = 'revoked', revoked_at = date_trunc('milliseconds', now()), revoked_by = $2
       where id = $1 and state = 'active' returning revoked_at`,
      [id, by],
    )
    if (done) {
      await appendAudit(transaction, { actor: by, action: 'agent.revoked', object: `agent:${id}` })
      return { id, state: 'revoked', revoked_at: done.revoked_at }
    }
    const [known] = await transaction.query<{ revoked_at: Date }>(
      'select revoked_at from multiboard.agents where id = $1',
      [id],
    )
    if (!known) {
      throw new SyncError('not-found', 'There is no such agent.', { hint: 'GET /v1/agents lists the agents.' })
    }
    return { id, state: 'revoked', revoked_at: known.revoked_at }
  })
}
