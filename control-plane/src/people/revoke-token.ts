import { SyncError } from '@multiboard-sync/shared/sync-error'
import { appendAudit } from '../audit/append-audit.ts'
import type { Database } from '../store/open-database.ts'

/** From the next call on the token, and every session begun with it, is nobody's. Twice is once. Throws `not-found`. */
export async function revokeToken(database: Database, id: string, person: string): Promise<void> {
  await database.transaction(async (transaction) => {
    const [token] = await transaction.query<{ revoked_at: Date | null }>(
      'select revoked_at from multiboard.api_tokens where id = $1 for update',
      [id],
    )
    if (!token) {
      throw new SyncError('not-found', 'There is no such token.', { hint: 'List the tokens with GET /v1/tokens.' })
    }
    if (token.revoked_at !== null) return
    await transaction.query('update multiboard.api_tokens set revoked_at = now(), revoked_by = $2 where id = $1', [
      id,
      person,
    ])
    await transaction.query('delete from multiboard.sessions where token = $1', [id])
    await appendAudit(transaction, { actor: person, action: 'token.revoked', object: `token:${id}` })
  })
}
