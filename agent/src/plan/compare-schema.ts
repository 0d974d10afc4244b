import type { Column } from '@multiboard-sync/shared/manifest'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import type { DumpEntry } from '../postgres/dump-entries.ts'

export interface ComparedTable extends TableName {
  columns: Column[]
}

export interface SchemaDifferences {
  /** Each one alone makes the rows not fit: the job is refused with all of them. */
  blocking: string[]
  /** Differences that leave the rows loadable; the target keeps its own definition. */
  notices: string[]
}

/**
 * Whether the origin's rows fit the target's tables, column by column, and what else differs, object by object
 * (pg_dump's text keyed by type, schema and name). Another order of columns is fine: COPY names them.
 */
export function compareSchema(
  origin: { tables: ComparedTable[]; entries: DumpEntry[] },
  target: { tables: ComparedTable[]; entries: DumpEntry[] },
): SchemaDifferences {
  const differences: SchemaDifferences = { blocking: [], notices: [] }
  const live = new Map(target.tables.map((table) => [formatTableName(table), table]))
  for (const table of origin.tables) {
    const name = formatTableName(table)
    const twin = live.get(name)
    if (twin) compareColumns(name, table.columns, twin.columns, differences)
    else differences.blocking.push(`table ${name} is missing in the target`)
  }
  compareEntries(origin, target.entries, differences)
  return differences
}

function compareColumns(table: string, wanted: Column[], present: Column[], differences: SchemaDifferences): void {
  const { blocking, notices } = differences
  const byName = new Map(present.map((column) => [column.name, column]))
  for (const column of wanted) {
    const twin = byName.get(column.name)
    byName.delete(column.name)
    const name = `column "${column.name}" of ${table}`
    if (!twin) blocking.push(`${name} is missing in the target`)
    else if (twin.type !== column.type)
      blocking.push(`${name} is ${column.type} in the source and ${twin.type} in the target`)
    else if ((twin.generated === '') !== (column.generated === '')) {
      blocking.push(`${name} is generated on one side only (${twin.generated === '' ? 'source' : 'target'})`)
    } else if (twin.not_null && !column.not_null) notices.push(`${name} is not null in the target only`)
  }
  for (const extra of byName.values()) {
    const name = `column "${extra.name}" of ${table}`
    const fills = extra.generated !== '' || extra.identity !== '' || extra.has_default || !extra.not_null
    if (!fills) blocking.push(`${name} exists in the target only, is not null and has no default`)
    else if (extra.generated === '') notices.push(`${name} exists in the target only and gets its default`)
  }
}

/** Types decide whether a value can be read; the rest is the target's own affair. */
const VALUE_TYPES = new Set(['TYPE', 'DOMAIN'])
/** Their differences are told by the columns, or are not definitions. */
const NOT_COMPARED = new Set(['TABLE', 'SEQUENCE SET', 'TABLE DATA', 'MATERIALIZED VIEW DATA', 'TABLE ATTACH'])

function compareEntries(
  origin: { tables: ComparedTable[]; entries: DumpEntry[] },
  present: DumpEntry[],
  differences: SchemaDifferences,
): void {
  const live = new Map(present.map((entry) => [keyOf(entry), entry]))
  const used = new Set(origin.tables.flatMap((table) => table.columns.map((column) => column.type)))
  for (const entry of origin.entries) {
    if (NOT_COMPARED.has(entry.type)) continue
    const twin = live.get(keyOf(entry))
    if (twin && normal(twin.sql) === normal(entry.sql)) continue
    const what = `${entry.type.toLowerCase()} ${entry.schema === '' ? '' : `${entry.schema}.`}${entry.name}`
    const text = twin ? `${what} differs` : `${what} exists in the source only`
    if (VALUE_TYPES.has(entry.type) && isUsed(entry, used)) differences.blocking.push(text)
    else differences.notices.push(text)
  }
}

function isUsed(entry: DumpEntry, types: Set<string>): boolean {
  const plain = (text: string): string => text.replaceAll('"', '')
  const name = `${entry.schema}.${entry.name}`
  return [...types].some((type) => plain(type) === name || plain(type) === `${name}[]`)
}

function keyOf(entry: DumpEntry): string {
  return `${entry.type}\n${entry.schema}\n${entry.name}`
}

/** Views are printed with other spacing and brackets by other majors (18 leaves out table names that are clear). */
function normal(sql: string): string {
  return sql.replaceAll(/\s+/g, ' ').trim()
}
