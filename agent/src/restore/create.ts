import type { ArchivedTable } from '@multiboard-sync/shared/manifest'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { allOf } from '../lanes/lanes.ts'
import { readTables, type TableInfo } from '../postgres/catalog.ts'
import { splitEntries, type DumpEntry } from '../postgres/dump-entries.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'
import { tablesOfForeignKey } from './foreign-key-text.ts'
import { loadTables } from './load-tables.ts'
import type { Load } from './load.ts'
import { underPlainSettings } from './refresh-sql.ts'
import { runEntries } from './run-entries.ts'

/**
 * Engine create: the target has none of the objects, so all of them are made and filled in the caller's one
 * transaction. When anything fails, also a kill -9, PostgreSQL itself takes back every object, exactly.
 * When only some tables of an archive are wanted, the others are made empty and dropped again with what depends on
 * them; nothing that was there before can depend on a table of this transaction. Parents of wanted tables stay.
 * Answers what the tables are to be, by the feed.
 */
export async function create(
  session: Session,
  load: Load,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<ArchivedTable[]> {
  const { feed, lanes } = load
  const schemas = new Set(
    (await session.query<{ name: string }>('select nspname as name from pg_catalog.pg_namespace')).map(
      ({ name }) => name,
    ),
  )
  const before = new Set((await readTables(session)).map((table) => table.oid))
  const isNew = (entry: DumpEntry): boolean => entry.type !== 'SCHEMA' || !schemas.has(entry.name)
  reporter.phase('loading')
  await runEntries(session, splitEntries(load.schema.preData).entries.filter(isNew), signal)
  await loadTables(session, feed, lanes, reporter)
  reporter.phase('building')
  // The source's checksums may take longer than the building.
  const finished = lanes.watch(feed.finish())
  await allOf<unknown>([finished, lanes.watch(build(session, load, before, lanes.signal))])
  const tables = await finished
  load.guard(tables)
  return tables
}

async function build(session: Session, load: Load, before: Set<number>, signal: AbortSignal): Promise<void> {
  await runEntries(session, splitEntries(load.schema.sequences).entries, signal)
  const postData = splitEntries(load.schema.postData).entries.map((entry) =>
    entry.type === 'MATERIALIZED VIEW DATA' ? { ...entry, sql: underPlainSettings(entry.sql) } : entry,
  )
  if (load.left.length === 0) return await runEntries(session, postData, signal)
  const isForeignKey = (entry: DumpEntry): boolean => entry.type === 'FK CONSTRAINT'
  const others = postData.filter((entry) => !isForeignKey(entry) && !isCommentOnKey(entry, postData))
  await runEntries(session, others, signal)
  const dropped = await dropOthers(session, before, load.feed.tables)
  const keys = postData.filter((entry) => isForeignKey(entry) || isCommentOnKey(entry, postData))
  await runEntries(
    session,
    keys.filter((entry) => !touches(keyOf(entry, postData), dropped)),
    signal,
  )
}

/** A comment follows what it is on. */
function keyOf(entry: DumpEntry, entries: DumpEntry[]): DumpEntry | undefined {
  if (entry.type === 'FK CONSTRAINT') return entry
  const previous = entries[entries.indexOf(entry) - 1]
  return entry.type === 'COMMENT' && previous?.type === 'FK CONSTRAINT' ? previous : undefined
}

function isCommentOnKey(entry: DumpEntry, entries: DumpEntry[]): boolean {
  return entry.type === 'COMMENT' && keyOf(entry, entries) !== undefined
}

/** Drops the tables of this transaction that are neither wanted nor the parents of wanted ones. Answers their names. */
async function dropOthers(session: Session, before: Set<number>, wanted: TableName[]): Promise<Set<string>> {
  const tables = (await readTables(session)).filter((table) => !before.has(table.oid) && table.extension === null)
  const byOid = new Map(tables.map((table) => [table.oid, table]))
  const names = new Set(wanted.map(formatTableName))
  const needed = new Set<number>()
  const need = (table: TableInfo | undefined): void => {
    if (!table || needed.has(table.oid)) return
    needed.add(table.oid)
    for (const oid of [...table.inheritsOids, table.parentOid ?? 0]) need(byOid.get(oid))
  }
  for (const table of tables) if (names.has(formatTableName(table))) need(table)
  const others = tables.filter((table) => ['r', 'p'].includes(table.kind) && !needed.has(table.oid))
  if (others.length === 0) return new Set()
  await freeSequences(session, others)
  await session.run(`drop table ${others.map(quoteTable).join(', ')} cascade`)
  return new Set(others.map(formatTableName))
}

/** A sequence goes with the table that owns it, unless a wanted table counts with it too. */
async function freeSequences(session: Session, others: TableInfo[]): Promise<void> {
  const sequences = await session.query<TableName>(
    `select n.nspname as schema, s.relname as name
     from pg_catalog.pg_class s
     join pg_catalog.pg_namespace n on n.oid = s.relnamespace
     join pg_catalog.pg_depend o on o.classid = 'pg_class'::regclass and o.objid = s.oid and o.deptype = 'a'
       and o.refclassid = 'pg_class'::regclass and o.refobjid = any ($1::oid[])
     where s.relkind = 'S' and exists (
       select from pg_catalog.pg_depend d join pg_catalog.pg_attrdef a on a.oid = d.objid
       where d.classid = 'pg_attrdef'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = s.oid
         and a.adrelid <> all ($1::oid[]))`,
    [others.map((table) => table.oid)],
  )
  for (const sequence of sequences) await session.run(`alter sequence ${quoteTable(sequence)} owned by none`)
}

function touches(key: DumpEntry | undefined, dropped: Set<string>): boolean {
  return key !== undefined && tablesOfForeignKey(key.sql).some((table) => dropped.has(formatTableName(table)))
}
