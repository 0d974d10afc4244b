import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Receipt } from '@multiboard-sync/shared/protocol'
import { quoteLiteral } from '../postgres/quote.ts'
import { openSession, type DatabaseUrl, type Session } from '../postgres/session.ts'
import { waitForTargetLock } from '../postgres/target-lock.ts'
import { readReceipt } from './receipt.ts'

/** After a lost answer to COMMIT the receipt is looked for this often, a second apart. */
const RECEIPT_ATTEMPTS = 30
const RECEIPT_PAUSE_MS = 1000
/** A local run has no lease; a commit that takes this long is no commit any more. */
const MAX_COMMIT_MS = 600_000
/** Raised by the target itself when the lease's deadline has passed on its own clock. */
const DEADLINE_SQLSTATE = 'MB001'

/**
 * Commits, provided that `leaseMs` milliseconds have not passed on the target's clock since this call: the check stands
 * in the same message as COMMIT, so an agent that is frozen in between cannot commit late. When the answer is lost,
 * the receipt decides. Throws `lease-lost` (rolled back), or `outcome-unknown` when even the receipt cannot be read.
 */
export async function commit(
  session: Session,
  leaseMs: number,
  job: string,
  database: DatabaseUrl,
  signal: AbortSignal,
): Promise<void> {
  const [row] = await session.query<{ deadline: string }>(
    `select (clock_timestamp() + make_interval(secs => $1))::text as deadline`,
    [Math.min(leaseMs, MAX_COMMIT_MS) / 1000],
  )
  try {
    await session.run(commitSql(row?.deadline ?? '-infinity'))
  } catch (error) {
    if (sqlstateOf(error) === DEADLINE_SQLSTATE) {
      throw new SyncError('lease-lost', 'The lease ran out before the commit; everything was rolled back.', {
        hint: 'The control plane was out of reach for too long. Start the job again.',
        cause: error,
      })
    }
    if (!(error instanceof SyncError) || error.code !== 'connection-lost') throw error
    if (!(await findReceipt(database, job, signal))) throw error
  }
}

function commitSql(deadline: string): string {
  return `do $$ begin
  if clock_timestamp() > ${quoteLiteral(deadline)}::timestamptz then
    raise exception 'lease deadline' using errcode = '${DEADLINE_SQLSTATE}';
  end if;
end $$;
commit`
}

function sqlstateOf(error: unknown): string | undefined {
  const cause = error instanceof SyncError ? error.cause : error
  return typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : undefined
}

/** Looks for the receipt on a fresh connection until the server answers. Throws `outcome-unknown`. */
async function findReceipt(database: DatabaseUrl, job: string, signal: AbortSignal): Promise<Receipt | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await using session = await openSession(database, { purpose: 'receipt', signal })
      // The broken session may still be committing: its lock is free only when it has ended.
      await waitForTargetLock(session)
      return await readReceipt(session, job)
    } catch (cause) {
      if (attempt < RECEIPT_ATTEMPTS && !signal.aborted) {
        await sleep(RECEIPT_PAUSE_MS, undefined, { signal })
        continue
      }
      throw new SyncError('outcome-unknown', 'The connection broke at the commit and the target cannot be reached.', {
        hint: 'Look for the job in multiboard_sync.receipts of the target: a row means it was committed.',
        cause,
      })
    }
  }
}
