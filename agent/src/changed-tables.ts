import type { Manifest } from '@multiboard-sync/shared/manifest'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { TableInfo } from './postgres/catalog.ts'

/** The tables whose rows a job exchanges, and the partitioned ones that they belong to. Names as formatTableName() writes them. */
export interface ChangedTables {
  named: ReadonlySet<string>
  /** Partitioned ones of which other partitions stay as they are. */
  partly: ReadonlySet<string>
}

/** Of leaves chosen out of a source's catalogue. */
export function changedOfSource(tables: TableInfo[], chosen: TableInfo[]): ChangedTables {
  const byOid = new Map(tables.map((table) => [table.oid, table]))
  const above = (table: TableInfo): TableInfo[] => {
    const parent = table.parentOid === null ? undefined : byOid.get(table.parentOid)
    return parent ? [parent, ...above(parent)] : []
  }
  const oids = new Set(chosen.map(({ oid }) => oid))
  const left = tables.filter(({ oid, isLeaf }) => isLeaf && !oids.has(oid))
  return changed(
    chosen.flatMap((table) => [table, ...above(table)]),
    left.flatMap(above),
  )
}

/** Of tables chosen out of an archive. `parents` as partitionParents() answers them. */
export function changedOfArchive(
  manifest: Pick<Manifest, 'tables'>,
  parents: ReadonlyMap<string, TableName>,
  chosen: TableName[],
): ChangedTables {
  const above = (table: TableName): TableName[] => {
    const parent = parents.get(formatTableName(table))
    return parent ? [parent, ...above(parent)] : []
  }
  const names = new Set(chosen.map(formatTableName))
  const left = manifest.tables.filter((table) => !names.has(formatTableName(table)))
  return changed(
    chosen.flatMap((table) => [table, ...above(table)]),
    left.flatMap(above),
  )
}

/** Of tables that are named with those above them. */
export function changed(named: TableName[], partly: TableName[] = []): ChangedTables {
  return { named: new Set(named.map(formatTableName)), partly: new Set(partly.map(formatTableName)) }
}

/** Whether documents made of these tables are touched, and whether all of their tables come anew. */
export function isTouched({ named }: ChangedTables, tables: TableName[]): boolean {
  return tables.some((table) => named.has(formatTableName(table)))
}

export function isReplaced({ named, partly }: ChangedTables, tables: TableName[]): boolean {
  return tables.map(formatTableName).every((name) => named.has(name) && !partly.has(name))
}
