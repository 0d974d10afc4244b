import type { Queries } from '../store/open-database.ts'
import { notePeople } from './note-people.ts'
import type { Role } from './person.ts'
import { sessionHashes } from './session-id.ts'

export interface KnownSession {
  subject: string
  role: Role
  expires_at: Date
}

/** The live session that a cookie names, or undefined. It ends with the token it was begun with. One statement. */
export async function findSession(
  queries: Queries,
  id: string,
  adminToken: string | undefined,
): Promise<KnownSession | undefined> {
  const [row] = await queries.query<KnownSession>(selectAndNote, [sessionHashes(id, adminToken)])
  return row
}

const selectAndNote = `
  with live as (
    select subject, role, expires_at from multiboard.sessions
    where id_sha256 = any($1) and expires_at > now() and not exists (
      select from multiboard.api_tokens
      where api_tokens.id = sessions.token and (revoked_at is not null or api_tokens.expires_at <= now())
    )
  ), noted as (
    ${notePeople} and exists (select from live)
  )
  select * from live
`
