import type { Database } from '../store/open-database.ts'
import { auditHash, NOTHING_BEFORE, type ChainedEntry } from './append-audit.ts'

/*
 * Whether the audit is what was written. Found by the chain of hashes: an entry that was changed, taken out, put in or
 * moved. Found by the jobs, which stand in another table: entries of theirs that are missing, also at the end. Found by
 * a head that somebody noted elsewhere: an end that was cut off, and an audit that was written anew as a whole.
 *
 * Not found without such a note: a cut end or an audit written anew, when the jobs were made to fit. The orders in it
 * can then still be compared with the agents' journals, which the control plane cannot write.
 */

export interface AuditHead {
  n: number
  /** Hex. */
  hash: string
}

export interface AuditVerdict {
  ok: boolean
  entries: number
  /** The newest entry, to be noted somewhere else and brought to a later check; null when there is none. */
  head: AuditHead | null
  /** The first entry that is not as it was written, or is missing. */
  broken_at: number | null
  /** `missing`: it is not there. `changed`: its hash is not that of its content. `moved`: it does not follow the one before. */
  reason: 'missing' | 'changed' | 'moved' | null
  /** What the entry is about, as far as that is known. */
  object: string | null
}

interface Row extends Omit<ChainedEntry, 'n' | 'at'> {
  n: string
  at: Date
  prev_hash: Buffer
  hash: Buffer
}

// Rows of some 300 bytes.
const AT_ONCE = 1000

/** Reads the whole audit, a page at a time. `noted` is a head that an earlier check answered. */
export async function verifyAudit(database: Database, noted?: AuditHead): Promise<AuditVerdict> {
  let before: Before = { n: 0, hash: NOTHING_BEFORE }
  for (;;) {
    const rows = await database.query<Row>(selectPage, [before.n, AT_ONCE])
    for (const row of rows) {
      const reason = faultOf(row, before, noted)
      if (reason) return { ...broken(before, reason), object: reason === 'missing' ? null : row.object }
      before = { n: Number(row.n), hash: row.hash }
    }
    if (rows.length < AT_ONCE) break
  }
  if (noted && noted.n > before.n) return broken(before, 'missing')
  const [unwitnessed] = await database.query<{ id: string }>(selectUntold)
  if (unwitnessed) return { ...broken(before, 'missing'), object: `job:${unwitnessed.id}` }
  return { ok: true, entries: before.n, head: headOf(before), broken_at: null, reason: null, object: null }
}

function faultOf(row: Row, before: Before, noted: AuditHead | undefined): AuditVerdict['reason'] {
  const n = Number(row.n)
  if (n !== before.n + 1) return 'missing'
  if (!row.prev_hash.equals(before.hash)) return 'moved'
  const { action, actor, at, detail, object } = row
  const expected = auditHash(before.hash, { n, at: at.toISOString(), actor, action, object, detail })
  if (!expected.equals(row.hash)) return 'changed'
  // A chain of its own that fits: everything up to here was written anew.
  if (noted?.n === n && noted.hash !== row.hash.toString('hex')) return 'changed'
  return null
}

interface Before {
  n: number
  hash: Buffer
}

function broken(before: Before, reason: AuditVerdict['reason']): AuditVerdict {
  return { ok: false, entries: before.n, head: headOf(before), broken_at: before.n + 1, reason, object: null }
}

function headOf({ n, hash }: Before): AuditHead | null {
  return n === 0 ? null : { n, hash: hash.toString('hex') }
}

const selectPage = `
  select n, at, actor, action, object, detail, prev_hash, hash from multiboard.audit
  where n > $1 order by n limit $2
`

/** A job is written in one transaction with what the audit tells of it; jobs from before there was an audit have nothing. */
const selectUntold = `
  select id from multiboard.jobs
  where created_at > (select at from multiboard.migrations where name = '0003_trust.sql') and (
    not exists (select from multiboard.audit where object = 'job:' || jobs.id and action = 'job.asked')
    or epoch > 0 and not exists (
      select from multiboard.audit
      where object = 'job:' || jobs.id and action = 'order.signed' and detail -> 'epoch' = to_jsonb(jobs.epoch)
    )
    or finished_at is not null and not exists (
      select from multiboard.audit where object = 'job:' || jobs.id and action in ('job.ended', 'job.refused')
    )
  )
  order by created_at, id limit 1
`
