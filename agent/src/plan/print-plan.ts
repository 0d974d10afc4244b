import { formatBytes, formatCount, formatNumberOf } from '@multiboard-sync/shared/sizes'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { Plan } from './plan.ts'

/** Of a long list of tables, this many are printed. */
const MAX_TABLES = 40

/** A plan for people: lines without colour, ready for a terminal. */
export function printPlan(plan: Plan): string {
  const tables = [...plan.tables].sort((a, b) => b.bytes - a.bytes)
  const width = Math.max(5, ...tables.slice(0, MAX_TABLES).map((table) => formatTableName(table).length))
  return [
    `${plan.kind} ${plan.source} -> ${plan.target}`,
    `engine   ${plan.engine}: ${plan.reason}`,
    `backup   ${plan.engine === 'create' ? 'not needed: nothing is replaced' : 'the tables below are archived first'}`,
    `rows     about ${formatNumberOf(plan.rows, 'row')} in ${formatNumberOf(plan.tables.length, 'table')}, ${formatBytes(plan.bytes)}`,
    '',
    `${'table'.padEnd(width)}  ${'rows'.padStart(13)}  ${'rows in target'.padStart(14)}  ${'size'.padStart(9)}`,
    ...tables.slice(0, MAX_TABLES).map((table) => tableLine(table, width)),
    ...(tables.length > MAX_TABLES ? [`and ${tables.length - MAX_TABLES} more`] : []),
    ...section('foreign keys to or from other tables, checked again before the commit', plan.outside_foreign_keys),
    ...section('to know', plan.notices),
  ].join('\n')
}

function tableLine(table: Plan['tables'][number], width: number): string {
  const live = table.target_rows === undefined ? '-' : formatCount(table.target_rows)
  return `${formatTableName(table).padEnd(width)}  ${formatCount(table.rows).padStart(13)}  ${live.padStart(14)}  ${formatBytes(table.bytes).padStart(9)}`
}

function section(title: string, lines: string[]): string[] {
  return lines.length === 0 ? [] : ['', `${title}:`, ...lines.map((line) => `  - ${line}`)]
}
