import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries, type DumpEntry } from '../postgres/dump-entries.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'
import { loadTables } from './load-tables.ts'
import type { Load } from './load.ts'
import { runEntries } from './run-entries.ts'

/**
 * Engine create: the target has none of the objects, so all of them are made and filled in the caller's one
 * transaction. When anything fails, also a kill -9, PostgreSQL itself takes back every object, exactly.
 * When only some tables of an archive are wanted, the others are made empty and dropped again with what depends on
 * them; nothing that was there before can depend on a table of this transaction.
 */
export async function create(session: Session, load: Load, reporter: Reporter, signal: AbortSignal): Promise<void> {
  const schemas = new Set(
    (await session.query<{ name: string }>('select nspname as name from pg_catalog.pg_namespace')).map(
      ({ name }) => name,
    ),
  )
  const isNew = (entry: DumpEntry): boolean => entry.type !== 'SCHEMA' || !schemas.has(entry.name)
  reporter.phase('loading')
  await runEntries(session, splitEntries(load.schema.preData).entries.filter(isNew), signal)
  await loadTables(session, load.archive, load.tables, reporter, signal)
  reporter.phase('building')
  await runEntries(session, splitEntries(load.schema.sequences).entries, signal)
  const postData = splitEntries(load.schema.postData).entries
  if (load.left.length === 0) return await runEntries(session, postData, signal)
  const isForeignKey = (entry: DumpEntry): boolean => entry.type === 'FK CONSTRAINT'
  await runEntries(
    session,
    postData.filter((entry) => !isForeignKey(entry)),
    signal,
  )
  await session.run(`drop table ${load.left.map(quoteTable).join(', ')} cascade`)
  await runEntries(
    session,
    postData.filter((entry) => isForeignKey(entry) && !touches(entry, load.left)),
    signal,
  )
}

/** Whether a foreign key's text (`ALTER TABLE ONLY a … REFERENCES b(…)`) names one of the tables. */
function touches(entry: DumpEntry, tables: TableName[]): boolean {
  const plain = (text: string): string => text.replaceAll('"', '')
  const text = plain(entry.sql)
  return tables.some(({ schema, name }) => {
    const table = plain(`${schema}.${name}`)
    return text.includes(` ${table}\n`) || text.includes(`REFERENCES ${table}(`)
  })
}
