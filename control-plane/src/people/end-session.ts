import { appendAudit } from '../audit/append-audit.ts'
import type { Database } from '../store/open-database.ts'
import { sessionHashes } from './session-id.ts'

/** Ends the session that a cookie names, if there is one. */
export async function endSession(database: Database, id: string, adminToken: string | undefined): Promise<void> {
  await database.transaction(async (transaction) => {
    const [ended] = await transaction.query<{ subject: string }>(
      'delete from multiboard.sessions where id_sha256 = any($1) returning subject',
      [sessionHashes(id, adminToken)],
    )
    if (ended) await appendAudit(transaction, { actor: ended.subject, action: 'session.ended', object: 'session' })
  })
}
