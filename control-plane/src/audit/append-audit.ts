import { createHash } from 'node:crypto'
import type { Queries } from '../store/open-database.ts'

/** Names, numbers and codes, never a secret. */
export interface AuditEntry {
  /** Person.name, `agent:<id>`, or `control`. */
  actor: string
  /** `job.asked`, `job.canceled`, `order.signed`, `agent.enrolled`, … */
  action: string
  /** `job:<id>`, `agent:<id>`, `token:<id>`. */
  object: string
  detail?: Record<string, string | number | boolean | null>
}

export interface ChainedEntry extends Required<AuditEntry> {
  n: number
  /** ISO 8601 with milliseconds. */
  at: string
}

// Our own number among the advisory locks of this database: entries are chained one after the other.
const AUDIT_LOCK = 7_305_102
export const NOTHING_BEFORE = Buffer.alloc(32)

/** Appends to the audit, in the transaction of what it tells: neither is there without the other. */
export async function appendAudit(transaction: Queries, entry: AuditEntry): Promise<void> {
  await transaction.query('select pg_advisory_xact_lock($1)', [AUDIT_LOCK])
  const [last] = await transaction.query<{ n: string; hash: Buffer }>(
    'select n, hash from multiboard.audit order by n desc limit 1',
  )
  const before = last?.hash ?? NOTHING_BEFORE
  const { actor, action, object, detail = {} } = entry
  const chained = { n: Number(last?.n ?? 0) + 1, at: new Date().toISOString(), actor, action, object, detail }
  await transaction.query(
    `insert into multiboard.audit (n, at, actor, action, object, detail, prev_hash, hash)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [chained.n, chained.at, actor, action, object, JSON.stringify(detail), before, auditHash(before, chained)],
  )
}

/** SHA-256 over the hash before and the entry's canonical JSON. */
export function auditHash(before: Buffer, { n, at, actor, action, object, detail }: ChainedEntry): Buffer {
  const sorted = Object.entries(detail).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(before)
    .update(JSON.stringify([n, at, actor, action, object, sorted]))
    .digest()
}
