import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readDependencyLines } from '../../postgres/dependency-print.ts'
import { readFingerprintLines, type Fingerprint } from '../../postgres/fingerprint.ts'
import { findLeaks } from '../../postgres/leak-check.ts'
import { quoteIdent } from '../../postgres/quote.ts'
import { readTogether } from '../../postgres/query-all.ts'
import type { Session } from '../../postgres/session.ts'
import type { OldSnapshot } from '../../postgres/snapshot-gate.ts'
import { differentFacts } from '../different-facts.ts'
import type { Exchange } from './change.ts'
import { refuseSnapshots } from './contention.ts'
import { lockForMove } from './lock-for-move.ts'
import { changedMeanwhile, type Prepared } from './prepare-move.ts'

/*
 * The part of an exchange that others wait for: each round trip here is paid by every reader of the tables, and so is each
 * object of the database that is looked at although the move has nothing to do with it.
 */

/**
 * Takes the locks, moves, and proves that nothing but the rows has changed; the commit is the caller's. Answers when
 * readers have begun to wait (performance.now()). Throws
 * `lock-timeout`, `old-snapshot`, `schema-changed` (retryable when a migration came in between) and `unsupported-object`.
 */
export async function move(
  session: Session,
  change: Pick<Exchange, 'incoming'>,
  prepared: Prepared,
  signal: AbortSignal,
): Promise<number> {
  const lockedAtMs = await lockForMove(session, prepared.locks, signal)
  const [mark, old] = await readTogether<[string, OldSnapshot[]]>(session, [], [prepared.changes.quick, prepared.gate])
  // Others' temporary tables make the quick answer another one, too: then the slow one decides.
  if (mark !== prepared.changes.before && (await prepared.changes.hasChanged())) throw changedMeanwhile()
  refuseSnapshots(old)

  const { touched } = prepared
  const [isSuspicious, definitions, dependencies] = await readTogether<[boolean, Fingerprint, string]>(
    session,
    [prepared.raiseSql, prepared.moveSql].filter((sql) => sql !== ''),
    [prepared.suspicion, touched.definitions, touched.dependencies],
  )
  // In the previous schemas is nothing but the members: when nothing points to them and their parts, nothing leaks.
  const leaks = isSuspicious ? await findLeaks(session, [...prepared.previous.schemas.values()]) : []
  if (leaks.length > 0) {
    throw new SyncError('unsupported-object', 'Something would go on pointing to the replaced tables.', {
      hint: 'Everything was rolled back. Report this as a bug; the engine merge or truncate will do.',
      details: leaks,
    })
  }
  if (definitions.sha256 !== prepared.touchedBefore.definitions) {
    throw await different(
      session,
      async () => await readFingerprintLines(session, { keys: 'unvalidated' }),
      differentFacts,
    )
  }
  if (dependencies !== prepared.touchedBefore.dependencies) {
    throw await different(
      session,
      async () => await readDependencyLines(session),
      (before, after) => [
        ...before.filter((line) => !after.includes(line)).map((line) => `was: ${line}`),
        ...after.filter((line) => !before.includes(line)).map((line) => `would be: ${line}`),
      ],
    )
  }

  // Last: the server plans every prepared query anew when a schema comes or goes.
  await session.run(`drop schema ${[...change.incoming.schemas.values()].map(quoteIdent).join(', ')} restrict`)
  return lockedAtMs
}

/** Ends the transaction, to read how it was: what would be different is worth more than a moment. */
async function different(
  session: Session,
  read: () => Promise<string[]>,
  compare: (before: string[], after: string[]) => string[],
): Promise<SyncError> {
  const after = await read()
  await session.run('rollback')
  const details = compare(await read(), after)
  return new SyncError('schema-changed', "The target's definitions would not be what they were.", {
    hint: 'Everything was rolled back. Tables or what depends on them were altered since.',
    details: details.slice(0, DETAILS_MAX),
  })
}

const DETAILS_MAX = 50
