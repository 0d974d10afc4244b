import type { ArchivedTable, Manifest } from '@multiboard-sync/shared/manifest'
import { routeAllows, type Route } from '@multiboard-sync/shared/policy'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, parseTablePattern, type TableName } from '@multiboard-sync/shared/table-pattern'

/** A table that can be chosen. Only leaves hold rows: ordinary tables and partitions without partitions of their own. */
export interface Selectable extends TableName {
  oid: number
  parentOid: number | null
  isLeaf: boolean
}

export interface Selection<Table extends Selectable> {
  /** Leaves to copy. */
  chosen: Table[]
  /** Leaves that stay out, and parents none of whose leaves is chosen; one without any leaf stays in when asked for. */
  left: Table[]
}

/**
 * Which tables a job copies. `patterns` are those asked for (absent: all); naming a partitioned table means its
 * partitions. The route's exclusions take tables out of "all", but a table asked for by name and excluded is refused.
 * Throws `table-unknown`, `policy-denied`, `selection-empty`.
 */
export function selectTables<Table extends Selectable>(
  tables: Table[],
  patterns: string[] | undefined,
  route: Route | undefined,
): Selection<Table> {
  const byOid = new Map(tables.map((table) => [table.oid, table]))
  const lineage = (table: Table): Table[] => {
    const parent = table.parentOid === null ? undefined : byOid.get(table.parentOid)
    return parent ? [table, ...lineage(parent)] : [table]
  }
  const asked = (patterns ?? ['*.*']).map(parseTablePattern)
  for (const pattern of asked) {
    if (!tables.some(pattern.matches) && (pattern.exact || patterns?.length === 1)) throw unknown(pattern.text, tables)
  }
  const isAsked = (table: Table): boolean => lineage(table).some((one) => asked.some((pattern) => pattern.matches(one)))
  const isAllowed = (table: Table): boolean => !route || routeAllows(route, lineage(table))
  const leaves = tables.filter((table) => table.isLeaf)
  const denied = leaves.filter((table) => isAsked(table) && !isAllowed(table))
  const named = denied.filter((table) => asked.some((pattern) => pattern.exact && lineage(table).some(pattern.matches)))
  if (named.length > 0) {
    throw new SyncError('policy-denied', `The route does not let ${list(named)} flow.`, {
      hint: "Leave the table out, or change the route's tables in agent.yaml on the agent.",
    })
  }
  const chosen = leaves.filter((table) => isAsked(table) && isAllowed(table))
  if (chosen.length === 0) {
    throw new SyncError('selection-empty', 'No table is left to copy.', {
      hint: patterns
        ? 'Check the table patterns: names are case-sensitive.'
        : 'The source has no tables that the route lets flow.',
    })
  }
  const filled = new Set(leaves.flatMap(lineage))
  const bare = tables.filter((table) => !filled.has(table) && isAsked(table) && isAllowed(table))
  const kept = new Set([...chosen, ...bare].flatMap(lineage))
  return { chosen, left: tables.filter((table) => !kept.has(table)) }
}

/** Whether a single relation is asked for, and let through by the route. */
export function isMeant(table: TableName, patterns: string[] | undefined, route: Route | undefined): boolean {
  const isAsked = (patterns ?? ['*.*']).map(parseTablePattern).some((pattern) => pattern.matches(table))
  return isAsked && (!route || routeAllows(route, [table]))
}

/**
 * The tables of an archive that a restore wants. `parents` are those of its partitions (partitionParents()): patterns and
 * the route's exclusions may name them. Throws as selectTables does.
 */
export function selectArchived(
  manifest: Pick<Manifest, 'tables'>,
  parents: Map<string, TableName>,
  patterns: string[] | undefined,
  route: Route | undefined,
): ArchivedTable[] {
  const archived = new Map(manifest.tables.map((table) => [formatTableName(table), table]))
  const above = new Map([...parents.values()].map((parent) => [formatTableName(parent), parent]))
  const names = [...new Set([...archived.keys(), ...above.keys()])]
  const oids = new Map(names.map((name, oid) => [name, oid]))
  const tables = names.flatMap((name, oid) => {
    const table = archived.get(name) ?? above.get(name)
    const parent = parents.get(name)
    const parentOid = parent ? (oids.get(formatTableName(parent)) ?? null) : null
    return table ? [{ schema: table.schema, name: table.name, oid, parentOid, isLeaf: archived.has(name) }] : []
  })
  const { chosen } = selectTables(tables, patterns, route)
  return chosen.flatMap((table) => archived.get(formatTableName(table)) ?? [])
}

function unknown(text: string, tables: Selectable[]): SyncError {
  const wanted = text.toLowerCase().replaceAll('"', '')
  const similar = tables.filter((table) => `${table.schema}.${table.name}`.toLowerCase().endsWith(wanted)).slice(0, 3)
  return new SyncError('table-unknown', `No table matches ${text}.`, {
    hint: similar.length > 0 ? `Did you mean ${list(similar)}?` : 'Names are case-sensitive; write schema.table.',
  })
}

function list(tables: TableName[]): string {
  const names = tables.slice(0, 5).map(formatTableName)
  return tables.length > 5 ? `${names.join(', ')} and ${tables.length - 5} more` : names.join(', ')
}
