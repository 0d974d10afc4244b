import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { readFingerprint } from '../postgres/fingerprint.ts'
import type { ForeignKey } from '../postgres/foreign-keys.ts'
import { readDependentMatviews } from '../postgres/matviews.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../postgres/quote.ts'
import { readTriggers } from '../postgres/triggers.ts'
import { disableTriggers } from './disable-triggers.ts'
import { findTables } from './find-tables.ts'
import { loadTables } from './load-tables.ts'
import type { Load } from './load.ts'
import { dropIndexes } from './rebuild-indexes.ts'
import { runTogether } from './run-together.ts'
import { refreshSql } from './refresh-sql.ts'
import { setSequences } from './set-sequences.ts'
import { readUncheckedConstraints } from './unchecked-constraints.ts'

/**
 * Engine in-place truncate, inside the caller's one transaction: lock, take foreign keys, triggers and plain indexes
 * aside, TRUNCATE ONLY (never CASCADE), load, put everything back, and prove by the catalogue's fingerprint that the
 * definitions are what they were. When anything fails PostgreSQL itself rolls all of it back. Answers what the tables are
 * to be, by the feed.
 */
export async function truncate(session: Session, load: Load, reporter: Reporter): Promise<ArchivedTable[]> {
  const before = await readFingerprint(session)
  if (before.sha256 !== load.fingerprint) {
    throw new SyncError('schema-changed', "The target's definitions were changed while the job ran.", {
      hint: 'Nothing was changed. Start the job again when the migration is over.',
    })
  }
  const { feed, lanes } = load
  const { chosen, lineage, keys } = await findTables(session, feed.tables)
  for (const key of keys)
    await session.run(`alter table ${quoteTable(key.table)} drop constraint ${quoteIdent(key.name)}`)
  const enableTriggers = await disableTriggers(session, new Set(chosen.keys()), await readTriggers(session))
  const rebuildIndexes = await dropIndexes(session, [...chosen.keys()])
  const unchecked = await readUncheckedConstraints(session, [...lineage], load.schema.postData)
  await runTogether(session, unchecked.drop)
  await session.run(`truncate ${[...chosen.values()].map((table) => `only ${quoteTable(table)}`).join(', ')}`)

  await loadTables(session, feed, lanes, reporter)
  const tables = await feed.finish()
  // Here, so that a deferred constraint names itself; later a table with checks to come could not be altered.
  await session.run('set constraints all immediate')

  reporter.phase('building')
  await setSequences(session, load, [...lineage])
  await runTogether(session, unchecked.add)
  await rebuildIndexes((index) => reporter.event('index.built', { index }, 'debug'))
  for (const key of keys) await addForeignKey(session, key)
  for (const view of await readDependentMatviews(session, [...lineage])) {
    await session.run(refreshSql(view))
  }
  await enableTriggers(session)
  if ((await readFingerprint(session)).sha256 !== before.sha256) {
    throw new SyncError(
      'schema-changed',
      "The target's definitions would not be what they were; everything was rolled back.",
      {
        hint: 'Report this as a bug, with the output of doctor.',
      },
    )
  }
  return tables
}

async function addForeignKey(session: Session, key: ForeignKey): Promise<void> {
  const [table, name] = [quoteTable(key.table), quoteIdent(key.name)]
  await session.run(`alter table ${table} add constraint ${name} ${key.definition}`)
  if (key.comment !== null)
    await session.run(`comment on constraint ${name} on ${table} is ${quoteLiteral(key.comment)}`)
}
