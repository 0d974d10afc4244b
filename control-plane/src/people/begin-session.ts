import { appendAudit } from '../audit/append-audit.ts'
import type { Database } from '../store/open-database.ts'
import type { Proven } from './prove-person.ts'
import { SESSION_MAX_AGE_S } from './session-cookie.ts'
import { newSessionId, sessionHash, sessionHashes } from './session-id.ts'

export interface BegunSession {
  id: string
  expiresAt: Date
}

/**
 * Begins a session of somebody proven: 12 hours, and not longer than the API token it is begun with. Its id is always a
 * new one; what the browser had before, `earlier`, ends. Expired sessions of anybody are thrown away.
 */
export async function beginSession(
  database: Database,
  { person, expiresAt, token }: Proven,
  { adminToken, earlier }: { adminToken: string | undefined; earlier: string | undefined },
): Promise<BegunSession> {
  const id = newSessionId()
  const hash = sessionHash(id, person.via === 'admin-token' ? adminToken : undefined)
  const ended = earlier === undefined ? [] : sessionHashes(earlier, adminToken)
  // A JWT proves who somebody is at this moment; the session goes on after it.
  const notAfter = token === undefined ? null : (expiresAt ?? null)
  return await database.transaction(async (transaction) => {
    const [row] = await transaction.query<{ expires_at: Date }>(insertSession, [
      hash,
      person.name,
      person.role,
      token ?? null,
      SESSION_MAX_AGE_S,
      notAfter,
    ])
    if (!row) throw new Error('beginning a session returned no row')
    // After the insert, which waits for whoever revokes the token: they delete its sessions.
    await transaction.query('delete from multiboard.sessions where expires_at <= now() or id_sha256 = any($1)', [ended])
    const detail = { via: person.via, role: person.role }
    await appendAudit(transaction, { actor: person.name, action: 'session.begun', object: 'session', detail })
    return { id, expiresAt: row.expires_at }
  })
}

const insertSession = `
  insert into multiboard.sessions (id_sha256, subject, role, token, expires_at)
  values ($1, $2, $3, $4, least(date_trunc('seconds', now()) + $5 * interval '1 second', $6))
  returning expires_at
`
