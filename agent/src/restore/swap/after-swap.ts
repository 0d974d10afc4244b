import { SyncError, toSyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { readFingerprint } from '../../postgres/fingerprint.ts'
import { findLeaks } from '../../postgres/leak-check.ts'
import type { Target } from '../../postgres/open-target.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import { openSession, type Session } from '../../postgres/session.ts'
import type { RestoreRun } from '../load.ts'
import type { Exchanged } from './change.ts'
import { dropPrevious } from './previous.ts'

/**
 * What follows a committed exchange: keys that came back NOT VALID are validated, the replaced tables of earlier jobs are
 * dropped. Nothing of it can take the commit back, so nothing is thrown: what is left undone is told as a warning, and
 * done after the next job or at the next boot.
 */
export async function afterSwap(target: Target, exchanged: Exchanged, run: RestoreRun): Promise<void> {
  const { reporter } = run
  try {
    // A cancel that came too late shall not leave keys behind that are not valid; and the exchange's own connection may
    // have gone down with the answer to its commit.
    const signal = run.signal.aborted ? AbortSignal.timeout(LATE_CANCEL_MS) : run.signal
    await using own = (await stands(target, run.signal)) ? undefined : await openAgain(target, signal)
    const session = own ?? target.session
    const keys = await validateKeys(session)
    if (keys.length > 0) reporter.event('swap.keys-not-valid', { keys: keys.slice(0, EVENT_MAX) }, 'warning')
    const after = await readFingerprint(session, { keys: 'unvalidated' })
    if (after.sha256 !== exchanged.fingerprint.sha256) reporter.event('swap.definitions-changed', {}, 'warning')
    // What another transaction defined and committed only now could be seen by nobody under the locks.
    const users = await findLeaks(session, [...exchanged.previous.schemas.values()])
    if (users.length > 0) reporter.event('previous.used', { objects: users.slice(0, EVENT_MAX) }, 'warning')
    const { dropped, kept } = await dropPrevious(session, [exchanged.receipt.job])
    if (dropped.length > 0) reporter.event('previous.dropped', { jobs: dropped })
    for (const { job, reasons } of kept) {
      reporter.event('previous.kept', { job, reasons: reasons.slice(0, EVENT_MAX) }, 'warning')
    }
    if (keys.length === 0) await run.journal.record('tidied', {})
  } catch (thrown) {
    const { code, message } = toSyncError(thrown)
    reporter.event('swap.unfinished', { code, message }, 'warning')
  }
}

/** The session of the exchange knows the catalogue by heart already. */
async function stands({ session }: Target, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false
  try {
    await session.query('select 1')
    return true
  } catch {
    return false
  }
}

async function openAgain({ database }: Target, signal: AbortSignal): Promise<Session> {
  return await openSession(database, { purpose: 'after swap', signal })
}

/** Of a canceled job nobody waits for the end any longer. */
const LATE_CANCEL_MS = 30_000
/** An event is at most 16 KiB; names are at most 63 bytes, twice. */
const EVENT_MAX = 50

interface PendingKey {
  schema: string
  name: string
  key: string
  isOpen: boolean
}

/**
 * Validates the foreign keys that swaps left NOT VALID, each in its own short transaction, and forgets those that are valid
 * or gone. Their rows were proven under locks before the commit: this gives the server's own word. Answers those that are
 * still to be validated, as `public.Child "Child_parent_fkey": why`. Writers are not kept waiting. For any session
 * without a transaction.
 */
export async function validateKeys(session: Session): Promise<string[]> {
  const [there] = await session.query<{ there: boolean }>(
    `select to_regclass('multiboard_sync.to_validate') is not null as there`,
  )
  if (!there?.there) return []
  const left: string[] = []
  for (const pending of await session.query<PendingKey>(PENDING_SQL)) {
    const why = await tryValidate(session, pending)
    if (why !== undefined) left.push(`${formatTableName(pending)} "${pending.key}": ${why}`)
  }
  return left
}

const PENDING_SQL = `
select v.schema_name as schema, v.table_name as name, v.constraint_name as key, k.oid is not null as "isOpen"
from multiboard_sync.to_validate v
left join pg_catalog.pg_namespace n on n.nspname = v.schema_name
left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = v.table_name
left join pg_catalog.pg_constraint k
  on k.conrelid = c.oid and k.conname = v.constraint_name and k.contype = 'f' and not k.convalidated
order by 1, 2, 3`

async function tryValidate(session: Session, { key, isOpen, ...table }: PendingKey): Promise<string | undefined> {
  const forget = `delete from multiboard_sync.to_validate where schema_name = ${quoteLiteral(table.schema)}
    and table_name = ${quoteLiteral(table.name)} and constraint_name = ${quoteLiteral(key)}`
  const validate = `alter table ${quoteTable(table)} validate constraint ${quoteIdent(key)}`
  try {
    await session.run(isOpen ? `${validate};\n${forget}` : forget)
    return undefined
  } catch (error) {
    // A lost or canceled session ends all of it; whatever else is wrong is wrong with this key.
    if (!(error instanceof SyncError) || error.code === 'connection-lost' || error.code === 'canceled') throw error
    return error.message
  }
}
