import { z } from 'zod'
import type { Database } from '../store/open-database.ts'
import { encodeCursor, momentSchema, pageSchema } from '../web/page.ts'
import { tokenIdSchema } from './api-token.ts'
import { roles } from './person.ts'

export const tokenPageSchema = pageSchema(z.tuple([momentSchema, tokenIdSchema]))

/** A token as admins see it: never its secret, nor the hash of it. */
export const tokenViewSchema = z
  .object({
    id: tokenIdSchema,
    label: z.string(),
    role: z.enum(roles),
    created_by: z.string(),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    last_used_at: z.iso.datetime().nullable().meta({ description: 'Right to a minute.' }),
    revoked_at: z.iso.datetime().nullable(),
    revoked_by: z.string().nullable(),
  })
  .meta({ id: 'Token' })

interface TokenRow extends Omit<
  z.output<typeof tokenViewSchema>,
  'created_at' | 'expires_at' | 'last_used_at' | 'revoked_at'
> {
  created_at: Date
  expires_at: Date
  last_used_at: Date | null
  revoked_at: Date | null
}

/** One page of tokens, newest first, and the cursor of the next page when there is more. */
export async function listTokens(
  database: Database,
  { cursor, limit }: z.output<typeof tokenPageSchema>,
): Promise<{ tokens: TokenRow[]; next: string | undefined }> {
  const rows = await database.query<TokenRow>(
    `select id, label, role, created_by, created_at, expires_at, last_used_at, revoked_at, revoked_by
     from multiboard.api_tokens where $1::timestamptz is null or (created_at, id) < ($1, $2)
     order by created_at desc, id desc limit $3`,
    [cursor?.[0] ?? null, cursor?.[1] ?? null, limit + 1],
  )
  const tokens = rows.slice(0, limit)
  const last = tokens.at(-1)
  const next = rows.length > limit && last ? encodeCursor([last.created_at.toISOString(), last.id]) : undefined
  return { tokens, next }
}
