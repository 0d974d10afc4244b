import type { JobState } from '@multiboard-sync/shared/job-state'
import type { Queries } from '../store/open-database.ts'
import { appendAudit, type AuditEntry } from './append-audit.ts'

/** Tells the audit how a job ended, `job.ended`, or that its agent is not heard any more, `job.lost`. */
export async function auditEnd(
  transaction: Queries,
  job: string,
  actor: string,
  { state, ...more }: { state: JobState } & NonNullable<AuditEntry['detail']>,
): Promise<void> {
  const action = state === 'lost' ? 'job.lost' : 'job.ended'
  await appendAudit(transaction, { actor, action, object: `job:${job}`, detail: { state, ...more } })
}
