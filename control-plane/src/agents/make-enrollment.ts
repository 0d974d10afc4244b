import { hashCode, newEnrollmentCode } from '@multiboard-sync/shared/agent-key'
import { appendAudit } from '../audit/append-audit.ts'
import type { Database, Queries } from '../store/open-database.ts'

// Our own number among the advisory locks of this database.
const CODES_LOCK = 7_305_104
const CODE_LIVES_MINUTES = 10

/**
 * A code with which whoever holds it makes one key the agent's, once, within ten minutes. Only its hash is kept, so it is
 * told once and never again; an earlier code for the same agent is void from now on.
 */
export async function makeEnrollment(
  database: Database,
  agent: string,
  by: string,
): Promise<{ agent: string; code: string; expires_at: Date }> {
  const code = newEnrollmentCode()
  return await database.transaction(async (transaction) => {
    await expireOpenCodes(transaction, agent)
    const [row] = await transaction.query<{ expires_at: Date }>(insertCode, [
      hashCode(code),
      agent,
      by,
      CODE_LIVES_MINUTES,
    ])
    if (!row) throw new Error('inserting a code returned no row')
    await appendAudit(transaction, { actor: by, action: 'agent.enrollment-made', object: `agent:${agent}` })
    return { agent, code, expires_at: row.expires_at }
  })
}

/**
 * Makes void the codes of an agent that nobody has used yet. The lock is for a code that is being made at the same time,
 * which nobody else could see yet.
 */
export async function expireOpenCodes(transaction: Queries, agent: string): Promise<void> {
  await transaction.query('select pg_advisory_xact_lock($1, hashtext($2))', [CODES_LOCK, agent])
  await transaction.query(expireCodes, [agent])
}

// Not now(): whoever brings the code may have begun their transaction before this one, and would find it good.
const expireCodes = `
  update multiboard.enrollments set expires_at = created_at where agent = $1 and used_at is null and expires_at > now()
`

const insertCode = `
  insert into multiboard.enrollments (code_sha256, agent, created_by, expires_at)
  values ($1, $2, $3, date_trunc('milliseconds', now() + $4 * interval '1 minute'))
  returning expires_at
`
