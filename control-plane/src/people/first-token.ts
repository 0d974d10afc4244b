import type { ControlPlane } from '../control-plane.ts'
import { insertToken, type MadeToken } from './make-token.ts'

// Our own number among the advisory locks of this database: two processes that start together make one token.
const FIRST_TOKEN_LOCK = 7_305_103
/** Time enough to make tokens with names; a restart makes another one when this has run out and nobody did. */
const DAYS = 30

/**
 * Makes a token of an admin when nobody could get in without it: there is no ADMIN_TOKEN, no issuer of JWTs, and no live
 * token of an admin. There is never a password that is the same on two installations.
 */
export async function makeFirstToken({
  adminToken,
  database,
  issuers = [],
}: Pick<ControlPlane, 'adminToken' | 'database' | 'issuers'>): Promise<MadeToken | undefined> {
  if (adminToken !== undefined || issuers.length > 0) return undefined
  return await database.transaction(async (transaction) => {
    await transaction.query('select pg_advisory_xact_lock($1)', [FIRST_TOKEN_LOCK])
    const [found] = await transaction.query<{ any_admin: boolean }>(selectAnyAdmin)
    if (found?.any_admin) return undefined
    return await insertToken(transaction, { label: 'first start', role: 'admin', expires_in_days: DAYS }, 'control')
  })
}

const selectAnyAdmin = `
  select exists (
    select from multiboard.api_tokens where role = 'admin' and revoked_at is null and expires_at > now()
  ) as any_admin
`
