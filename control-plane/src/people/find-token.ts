import { timingSafeEqual } from 'node:crypto'
import type { Queries } from '../store/open-database.ts'
import { sha256, tokenId } from './api-token.ts'
import { notePeople } from './note-people.ts'
import type { Role } from './person.ts'

export interface KnownToken {
  id: string
  label: string
  role: Role
  expires_at: Date
}

/** The live token that this text is, or undefined. One statement, which also notes that it was used. */
export async function findToken(
  queries: Queries,
  text: string,
  { isWatcher }: { isWatcher: boolean } = { isWatcher: false },
): Promise<KnownToken | undefined> {
  const id = tokenId(text)
  if (id === undefined) return undefined
  const hash = sha256(text)
  const [row] = await queries.query<KnownToken & { secret_sha256: Buffer }>(isWatcher ? select : selectAndNote, [
    id,
    hash,
  ])
  // The database compares hashes, of which a caller cannot choose a prefix; this comparison takes the same time for all.
  if (!row || !timingSafeEqual(row.secret_sha256, hash)) return undefined
  return { id: row.id, label: row.label, role: row.role, expires_at: row.expires_at }
}

// last_used_at is written at most each minute: reading a page must not cost a write each time.
const found = `
  with live as (
    select id, label, role, expires_at, secret_sha256 from multiboard.api_tokens
    where id = $1 and secret_sha256 = $2 and revoked_at is null and expires_at > now()
  ), used as (
    update multiboard.api_tokens set last_used_at = now()
    where id = (select id from live) and (last_used_at is null or last_used_at < now() - interval '1 minute')
  )`

const select = `${found} select * from live`

const selectAndNote = `${found}, noted as (
    ${notePeople} and exists (select from live)
  )
  select * from live
`
