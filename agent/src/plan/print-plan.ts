import { formatBytes, formatCount, formatNumberOf } from '@multiboard-sync/shared/sizes'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { ExportPlan, Plan } from './plan.ts'

/** Of a long list of tables, this many are printed. */
const MAX_TABLES = 40

/** A plan for people: lines without colour, ready for a terminal. */
export function printPlan(plan: Plan): string {
  return [
    `${plan.kind} ${plan.source} -> ${plan.target}`,
    `engine   ${plan.engine}: ${plan.reason}`,
    `backup   ${plan.engine === 'create' ? 'not needed: nothing is replaced' : 'the tables below are archived first'}`,
    totalLine(plan),
    '',
    ...tableLines(plan.tables),
    ...section('foreign keys to or from other tables, checked again before the commit', plan.outside_foreign_keys),
    ...section('to know', plan.notices),
  ].join('\n')
}

/** The plan of an export for people. */
export function printExportPlan(plan: ExportPlan): string {
  const extent = plan.whole ? 'the whole database' : 'some of its tables'
  return [`export ${plan.source}: ${extent}`, totalLine(plan), '', ...tableLines(plan.tables)].join('\n')
}

type Line = ExportPlan['tables'][number] & { target_rows?: number }

function totalLine({ rows, bytes, tables }: { rows: number; bytes: number; tables: Line[] }): string {
  const isKnown = tables.every((table) => rowsText(table) !== UNKNOWN)
  const count = isKnown ? `about ${formatNumberOf(rows, 'row')}` : 'a number that the server has not estimated yet,'
  return `rows     ${count} in ${formatNumberOf(tables.length, 'table')}, ${formatBytes(bytes)}`
}

function tableLines(unsorted: Line[]): string[] {
  const tables = unsorted.toSorted((a, b) => b.bytes - a.bytes)
  const shown = tables.slice(0, MAX_TABLES)
  const width = Math.max(5, ...shown.map((table) => formatTableName(table).length))
  const hasTarget = tables.some((table) => table.target_rows !== undefined)
  const line = (name: string, rows: string, live: string, size: string): string =>
    [name.padEnd(width), rows.padStart(13), ...(hasTarget ? [live.padStart(14)] : []), size.padStart(9)].join('  ')
  return [
    line('table', 'rows', 'rows in target', 'size'),
    ...shown.map((table) => {
      const live = table.target_rows === undefined ? '-' : formatCount(table.target_rows)
      return line(formatTableName(table), rowsText(table), live, formatBytes(table.bytes))
    }),
    ...(tables.length > MAX_TABLES ? [`and ${tables.length - MAX_TABLES} more`] : []),
  ]
}

const UNKNOWN = '?'

/** A table that has a size and an estimate of no rows was never analyzed. */
function rowsText({ rows, bytes }: Line): string {
  return rows === 0 && bytes > 0 ? UNKNOWN : formatCount(rows)
}

function section(title: string, lines: string[]): string[] {
  return lines.length === 0 ? [] : ['', `${title}:`, ...lines.map((line) => `  - ${line}`)]
}
