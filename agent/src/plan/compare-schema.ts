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
  const used = usedTypes(origin)
  for (const entry of origin.entries) {
    if (NOT_COMPARED.has(entry.type)) continue
    const twin = live.get(keyOf(entry))
    if (twin && normal(twin.sql) === normal(entry.sql)) continue
    const what = `${entry.type.toLowerCase()} ${entry.schema === '' ? '' : `${entry.schema}.`}${entry.name}`
    const text = twin ? `${what} differs${labelsText(entry, twin)}` : `${what} exists in the source only`
    if (used.has(keyOf(entry))) differences.blocking.push(text)
    else differences.notices.push(text)
  }
}

/** The types that the columns are of, and those that these are made of: domains over enums, arrays, composites. */
function usedTypes({ tables, entries }: { tables: ComparedTable[]; entries: DumpEntry[] }): Set<string> {
  const types = entries.filter((entry) => VALUE_TYPES.has(entry.type))
  const used = new Set<string>()
  const use = (text: string): void => {
    for (const entry of types) {
      if (used.has(keyOf(entry)) || !mentions(text, entry)) continue
      used.add(keyOf(entry))
      use(entry.sql)
    }
  }
  for (const table of tables) for (const column of table.columns) use(column.type)
  return used
}

/** Whether text (a column's type, a definition) names the type: `public."Status"`, `public."Status"[]`. */
function mentions(text: string, { schema, name }: DumpEntry): boolean {
  const plain = text.replaceAll('"', '')
  const wanted = `${schema}.${name}`
  for (let at = plain.indexOf(wanted); at >= 0; at = plain.indexOf(wanted, at + 1)) {
    const isWord = (one: string | undefined): boolean => one !== undefined && /[\w$]/.test(one)
    if (!isWord(plain[at - 1]) && !isWord(plain[at + wanted.length])) return true
  }
  return false
}

/** For two enums, which labels only one side has. */
function labelsText(source: DumpEntry, target: DumpEntry): string {
  const [ours, theirs] = [labelsOf(source.sql), labelsOf(target.sql)]
  if (!ours || !theirs) return ''
  const missing = ours.filter((label) => !theirs.includes(label))
  const extra = theirs.filter((label) => !ours.includes(label))
  const parts = [
    ...(missing.length > 0 ? [`the target lacks ${missing.join(', ')}`] : []),
    ...(extra.length > 0 ? [`only the target has ${extra.join(', ')}`] : []),
  ]
  return parts.length === 0 ? ': the labels have another order' : `: ${parts.join('; ')}`
}

function labelsOf(sql: string): string[] | undefined {
  const [, list] = /^CREATE TYPE .+ AS ENUM \(\s([^]*)\n\);/m.exec(sql) ?? []
  return list?.match(/'(?:[^']|'')*'/g) ?? undefined
}

function keyOf(entry: DumpEntry): string {
  return `${entry.type}\n${entry.schema}\n${entry.name}`
}

/** Views are printed with other spacing and brackets by other majors (18 leaves out table names that are clear). */
function normal(sql: string): string {
  return sql.replaceAll(/\s+/g, ' ').trim()
}
