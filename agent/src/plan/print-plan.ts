import type { PlanView } from '@multiboard-sync/shared/plan'
import { formatBytes, formatCount, formatNumberOf, formatSeconds } from '@multiboard-sync/shared/sizes'

/** Of a long list of tables, this many are printed. */
const MAX_TABLES = 40

/** A plan for people: lines without colour, ready for a terminal. */
export function printPlanView(view: PlanView): string {
  if (view.kind === 'undo') return printUndo(view)
  if (view.kind === 'reindex') return printReindex(view)
  return [
    view.target === undefined ? `${view.kind} ${view.source}` : `${view.kind} ${view.source} -> ${view.target}`,
    view.engine === undefined ? `extent   ${view.reason}` : `engine   ${view.engine}: ${view.reason}`,
    ...(view.engine === undefined ? [] : [`backup   ${BACKUP[view.engine]}`]),
    totalLine(view),
    `locks    ${view.locks}`,
    ...(view.disk_bytes === 0 ? [] : [`disk     about ${formatBytes(view.disk_bytes)} ${diskText(view)}`]),
    ...(view.seconds === undefined ? [] : [`time     roughly ${formatSeconds(view.seconds)}`]),
    '',
    ...tableLines(view),
    ...section('made again', view.remade),
    ...section('foreign keys to or from other tables, checked again before the commit', view.outside_foreign_keys),
    ...searchLines(view),
    ...section('to know', view.notices),
  ].join('\n')
}

/** Of the search alone: what is read, and what becomes of each collection. */
function printReindex(view: PlanView): string {
  return [
    `reindex from ${view.source}`,
    `reads    ${formatNumberOf(view.table_count, 'table')}: ${view.tables
      .slice(0, MAX_TABLES)
      .map(({ name }) => name)
      .join(', ')}`,
    `locks    ${view.locks}`,
    ...searchLines(view),
    ...section('to know', view.notices),
  ].join('\n')
}

const MODES = {
  full: 'a new collection beside the live one, proven before the alias moves',
  incremental: 'what differs is sent to the live collection',
  'pointed-back': 'the alias goes back to the previous collection',
}

function searchLines({ search = [] }: PlanView): string[] {
  return section(
    'search collections that follow',
    search.flatMap(({ alias, mode, reason, documents, notices }) => [
      `${alias}: ${MODES[mode]} (${reason})${documents === undefined ? '' : `; ${formatNumberOf(documents, 'document')} now`}`,
      ...notices.map((notice) => `  ${notice}`),
    ]),
  )
}

/** Nothing is copied, so there are no rows to count: the tables that come back, by name. */
function printUndo(view: PlanView): string {
  const { target, reason, tables, bytes, locks, notices } = view
  return [
    `undo on ${target}`,
    `why      ${reason}`,
    `backup   not needed: what is live now is kept in turn`,
    `locks    ${locks}`,
    ...section(
      `tables that come back, ${formatBytes(bytes)} in all`,
      tables.map(({ name }) => name).slice(0, MAX_TABLES),
    ),
    ...searchLines(view),
    ...section('to know', notices),
  ].join('\n')
}

const BACKUP: Record<NonNullable<PlanView['engine']>, string> = {
  create: 'not needed: nothing is replaced',
  swap: 'the tables below are archived while their successors load, and kept for undo',
  merge: 'the tables below are archived while the rows load beside them',
  truncate: 'the tables below are archived first',
}

function diskText({ engine }: PlanView): string {
  switch (engine) {
    case 'swap':
      return 'beside the tables, until the previous ones are dropped; as much write-ahead log while it loads'
    case 'merge':
      return 'beside the tables while the job runs; write-ahead log for the rows that differ'
    case 'truncate':
      return 'beside the tables until the commit, and as much write-ahead log'
    case 'create':
    case undefined:
      return 'for the tables, and as much write-ahead log while it loads'
  }
}

type Line = PlanView['tables'][number]

function totalLine({ rows, bytes, tables, table_count: count }: PlanView): string {
  const isKnown = tables.every((table) => rowsText(table) !== UNKNOWN)
  const text = isKnown ? `about ${formatNumberOf(rows, 'row')}` : 'a number that the server has not estimated yet,'
  return `rows     ${text} in ${formatNumberOf(count, 'table')}, ${formatBytes(bytes)}`
}

function tableLines({ tables, table_count: count }: PlanView): string[] {
  const shown = tables.slice(0, MAX_TABLES)
  const width = Math.max(5, ...shown.map((table) => table.name.length))
  const hasTarget = tables.some((table) => table.target_rows !== undefined)
  const line = (name: string, rows: string, live: string, size: string): string =>
    [name.padEnd(width), rows.padStart(13), ...(hasTarget ? [live.padStart(14)] : []), size.padStart(9)].join('  ')
  return [
    line('table', 'rows', 'rows in target', 'size'),
    ...shown.map((table) => {
      const live = table.target_rows === undefined ? '-' : formatCount(table.target_rows)
      return line(table.name, rowsText(table), live, formatBytes(table.bytes))
    }),
    ...(count > shown.length ? [`and ${formatCount(count - shown.length)} more`] : []),
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
