import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { Column } from '@multiboard-sync/shared/manifest'
import { readTables, storedColumns } from './catalog.ts'
import { decideKeys } from './decide-keys.ts'
import { lineages, readMergeKeys } from './merge-keys.ts'
import { readMergeTables, type MergeTable } from './merge-tables.ts'
import type { Session } from './session.ts'

/** A table as the archive has it. */
type Archived = TableName & { columns: Column[] }

/**
 * Why these tables cannot be merged, as clauses for people; [] when they can. `archived` are the same tables in the
 * archive, to see whether it has the primary keys' columns.
 */
export async function mergeBlockers(
  session: Session,
  tableOids: number[],
  archived: Archived[] = [],
): Promise<string[]> {
  const wanted = new Set(tableOids)
  const tables = (await readTables(session)).filter(({ oid }) => wanted.has(oid))
  const columnsOf = new Map(archived.map((table) => [formatTableName(table), storedColumns(table.columns)]))
  return (await readMergeTables(session, tables)).flatMap((one) =>
    blockersOf(one, columnsOf.get(formatTableName(one.table))),
  )
}

/** Of one table; `columns` are those whose values the archive has. */
function blockersOf(one: MergeTable, columns: Column[] | undefined): string[] {
  const { table, keyName, key, rules, isPublishedWithoutIdentity } = one
  const name = `table ${formatTableName(table)}`
  const generated = table.columns.filter((column) => column.generated !== '').map((column) => column.name)
  const found: string[] = []
  if (keyName === null) found.push(`${name} has no primary key`)
  else if (key.length === 0) found.push(`the primary key of ${name} is one WITHOUT OVERLAPS`)
  for (const column of key) {
    if (generated.includes(column.name)) found.push(`column ${column.name} of the primary key of ${name} is generated`)
    else if (columns && !columns.some((archived) => archived.name === column.name)) {
      found.push(`column ${column.name} of the primary key of ${name} is not in the archive`)
    }
  }
  found.push(...rules.map((rule) => `rule ${rule} on ${name} acts when rows are written`))
  if (isPublishedWithoutIdentity) found.push(`${name} is published and has no replica identity`)
  return found
}

/**
 * What readers of the tables have to wait for when these are merged, as clauses for people: foreign keys that are dropped
 * and made again. [] when readers never wait, as far as that can be told before the rows are known.
 */
export async function mergeWaits(session: Session, tableOids: number[]): Promise<string[]> {
  const all = await readTables(session)
  const wanted = new Set(tableOids)
  const tables = await readMergeTables(
    session,
    all.filter(({ oid }) => wanted.has(oid)),
  )
  const lines = lineages(all, tableOids)
  const keys = await readMergeKeys(session, new Set([...lines.values()].flatMap((line) => [...line])))
  return decideKeys(tables, keys, lines, { moving: false, costly: new Set() }).dropped.map(
    (key) => `foreign key ${key.name} of ${formatTableName(key.table)} is dropped and made again`,
  )
}
