import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readCatalogMark } from '../../postgres/catalog-mark.ts'
import { readFingerprintLines } from '../../postgres/fingerprint.ts'
import { quoteIdent } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { differentFacts } from '../different-facts.ts'
import type { Exchange } from './change.ts'
import { refuseOldSnapshots } from './contention.ts'
import { lockForMove } from './lock-for-move.ts'
import { changedMeanwhile, type Prepared, type Prints } from './prepare-move.ts'

/*
 * The part of an exchange that others wait for: each round trip here is paid by every reader of the tables.
 */

/**
 * Takes the locks, moves, and proves that nothing but the rows has changed; the commit is the caller's. Answers when
 * readers have begun to wait (performance.now()). Throws
 * `lock-timeout`, `old-snapshot`, `schema-changed` (retryable when a migration came in between) and `unsupported-object`.
 */
export async function move(
  session: Session,
  change: Exchange,
  prints: Prints,
  prepared: Prepared,
  signal: AbortSignal,
): Promise<number> {
  const lockedAtMs = await lockForMove(session, prepared.locks, signal)
  if ((await readCatalogMark(session)) !== prepared.mark) throw changedMeanwhile()
  await refuseOldSnapshots(session, change.snapshotMark)
  await session.run([prepared.raiseSql, prepared.moveSql].filter((sql) => sql !== '').join(';\n'))

  const leaks = await prepared.leaks.read()
  if (leaks.length > 0) {
    throw new SyncError('unsupported-object', 'Something would go on pointing to the replaced tables.', {
      hint: 'Everything was rolled back. Report this as a bug; the engine merge or truncate will do.',
      details: leaks,
    })
  }
  const after = await prints.definitions.read()
  if (after.sha256 !== prepared.before.sha256) throw await differentDefinitions(session)
  if ((await prints.dependencies.read()) !== prepared.dependencies) {
    throw new SyncError('schema-changed', 'Other objects would depend on each other than before the swap.', {
      hint: 'Everything was rolled back. Report this as a bug; the engine merge or truncate will do.',
    })
  }
  // Last: the server plans every prepared query anew when a schema comes or goes.
  await session.run(`drop schema ${[...change.incoming.schemas.values()].map(quoteIdent).join(', ')} restrict`)
  return lockedAtMs
}

/** Ends the transaction, to read how the definitions were: what would be different is worth more than a moment. */
async function differentDefinitions(session: Session): Promise<SyncError> {
  const after = await readFingerprintLines(session, { keys: 'unvalidated' })
  await session.run('rollback')
  const before = await readFingerprintLines(session, { keys: 'unvalidated' })
  return new SyncError('schema-changed', "The target's definitions would not be what they were.", {
    hint: 'Everything was rolled back. Tables or what depends on them were altered since.',
    details: differentFacts(before, after),
  })
}
