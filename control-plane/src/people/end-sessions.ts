import { z } from 'zod'
import { appendAudit } from '../audit/append-audit.ts'
import type { Database } from '../store/open-database.ts'

export const endSessionsSchema = z.strictObject({
  /** As the audit names them: `token:<label>`, `<issuer's name>:<subject>`, `admin`. */
  subject: z.string().min(1).max(200),
})

/** Ends all sessions of somebody, as when they lose their machine; answers how many there were. */
export async function endSessions(database: Database, subject: string, person: string): Promise<number> {
  return await database.transaction(async (transaction) => {
    const ended = await transaction.query(
      'delete from multiboard.sessions where subject = $1 and expires_at > now() returning 1 as one',
      [subject],
    )
    const entry = {
      actor: person,
      action: 'sessions.ended',
      object: `person:${subject}`,
      detail: { ended: ended.length },
    }
    await appendAudit(transaction, entry)
    return ended.length
  })
}
