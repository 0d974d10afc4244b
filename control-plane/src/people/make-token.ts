import { z } from 'zod'
import { appendAudit } from '../audit/append-audit.ts'
import type { Database, Queries } from '../store/open-database.ts'
import { newToken } from './api-token.ts'
import { roles, type Role } from './person.ts'

/** Long enough to be forgotten is too long: a year at most. */
const MAX_DAYS = 365

/** In people's names: `token:<label>`. */
const labelSchema = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,59}$/, '1 to 60 letters, digits, spaces and ._@-')

export const makeTokenSchema = z.strictObject({
  label: labelSchema,
  role: z.enum(roles),
  expires_in_days: z.int().min(1).max(MAX_DAYS),
})

export interface MadeToken {
  id: string
  /** The whole token; nobody can read it again. */
  token: string
  label: string
  role: Role
  expires_at: Date
}

/** Makes an API token, and tells the audit. */
export async function makeToken(
  database: Database,
  input: z.output<typeof makeTokenSchema>,
  person: string,
): Promise<MadeToken> {
  return await database.transaction(async (transaction) => await insertToken(transaction, input, person))
}

/** The same within a transaction, which must not lock rows after it. */
export async function insertToken(
  transaction: Queries,
  { expires_in_days, label, role }: z.output<typeof makeTokenSchema>,
  person: string,
): Promise<MadeToken> {
  const { id, sha256, text } = newToken()
  const [row] = await transaction.query<{ expires_at: Date }>(insert, [
    id,
    sha256,
    label,
    role,
    person,
    expires_in_days,
  ])
  if (!row) throw new Error('making a token returned no row')
  const detail = { label, role, expires_in_days }
  await appendAudit(transaction, { actor: person, action: 'token.made', object: `token:${id}`, detail })
  return { id, token: text, label, role, expires_at: row.expires_at }
}

const insert = `
  insert into multiboard.api_tokens (id, secret_sha256, label, role, created_by, expires_at)
  values ($1, $2, $3, $4, $5, date_trunc('seconds', now()) + $6 * interval '1 day')
  returning expires_at
`
