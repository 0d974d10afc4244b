import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Receipt } from '@multiboard-sync/shared/protocol'
import { quoteLiteral } from '../postgres/quote.ts'
import { openSession, type DatabaseUrl, type Session } from '../postgres/session.ts'
import { waitForTargetLock } from '../postgres/target-lock.ts'
import type { Lease } from '../report/lease.ts'
import { readReceipt } from './receipt.ts'

/** After a lost answer to COMMIT the receipt is looked for this often, a second apart. */
const RECEIPT_ATTEMPTS = 30
const RECEIPT_PAUSE_MS = 1000
const RECEIPT_TIMEOUT_MS = 300_000
/** A local run has no lease; a commit that takes this long is no commit any more. */
const MAX_COMMIT_MS = 600_000
/** Raised by the target itself when the lease's deadline has passed on its own clock. */
const DEADLINE_SQLSTATE = 'MB001'

/**
 * Commits, provided that the lease has not run out by the target's clock: the check stands in the same message as COMMIT,
 * so an agent that is frozen in between cannot commit late. Once COMMIT may have been sent the signal is a loss of the
 * connection and no more: the receipt decides. Throws `lease-lost` (rolled back), or `outcome-unknown` when even the
 * receipt cannot be read.
 */
export async function commit(
  session: Session,
  lease: Pick<Lease, 'remainingMs'>,
  job: string,
  database: DatabaseUrl,
  signal: AbortSignal,
): Promise<void> {
  const [clock] = await session.query<{ now: string }>(`select clock_timestamp()::text as now`)
  // Only now: time that passed while the clock's answer was under way must not be added to the lease.
  const leaseMs = Math.floor(Math.min(lease.remainingMs(), MAX_COMMIT_MS))
  try {
    await session.run(commitSql(clock?.now ?? '-infinity', leaseMs))
  } catch (error) {
    if (sqlstateOf(error) === DEADLINE_SQLSTATE) {
      throw new SyncError('lease-lost', 'The lease ran out before the commit; everything was rolled back.', {
        hint: 'The control plane was out of reach for too long. Start the job again.',
        cause: error,
      })
    }
    const isLost = signal.aborted || (error instanceof SyncError && error.code === 'connection-lost')
    if (!isLost || !(await findReceipt(database, job))) throw error
  }
}

function commitSql(now: string, leaseMs: number): string {
  return `do $$ begin
  if clock_timestamp() >= ${quoteLiteral(now)}::timestamptz + interval '${leaseMs} milliseconds' then
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
async function findReceipt(database: DatabaseUrl, job: string): Promise<Receipt | undefined> {
  const signal = AbortSignal.timeout(RECEIPT_TIMEOUT_MS)
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
