import { MAX_PLAN_TABLES, type PlanView } from '@multiboard-sync/shared/plan'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { estimateDiskBytes, estimateExportSeconds, estimateSeconds } from './estimate.ts'
import type { ExportPlan, Plan } from './plan.ts'

/** Of other lists, which are long only where something is odd, so many travel. */
const MAX_LINES = 500

/** The plan as people and pages see it: largest tables first, long lists cut, rough figures added. */
export function viewOf(plan: Plan | ExportPlan): PlanView {
  const tables = plan.tables.toSorted((a, b) => b.bytes - a.bytes).slice(0, MAX_PLAN_TABLES)
  const common = {
    source: plan.source,
    tables: tables.map(viewOfTable),
    table_count: plan.tables.length,
    rows: plan.rows,
    bytes: plan.bytes,
  }
  if (plan.kind === 'export') {
    return {
      ...common,
      kind: 'export',
      reason: plan.whole ? 'the whole database' : 'some of its tables',
      remade: [],
      outside_foreign_keys: [],
      locks: 'nobody waits for it, but who changes the definition of one of these tables',
      disk_bytes: 0,
      seconds: estimateExportSeconds(plan.bytes, plan.tables.length),
      notices: [],
    }
  }
  return {
    ...common,
    kind: plan.kind,
    target: plan.target,
    engine: plan.engine,
    reason: plan.reason,
    remade: cut(plan.remade),
    outside_foreign_keys: cut(plan.outside_foreign_keys),
    locks: locksText(plan),
    disk_bytes: estimateDiskBytes(plan),
    seconds: estimateSeconds(plan),
    notices: cut(plan.notices),
  }
}

/** Of a job that changes the search alone: what the documents are made of. */
export function viewOfReindex(source: string, tables: TableName[]): PlanView {
  const names = [...new Set(tables.map(formatTableName))]
  return {
    kind: 'reindex',
    source,
    reason: 'the search alone',
    tables: names.slice(0, MAX_PLAN_TABLES).map((name) => ({ name, rows: 0, bytes: 0 })),
    table_count: names.length,
    rows: 0,
    bytes: 0,
    remade: [],
    outside_foreign_keys: [],
    locks: 'nobody waits: rows are read, and searches find the index as it was until the new one is proven',
    disk_bytes: 0,
    notices: [],
  }
}

function viewOfTable(table: Plan['tables'][number] | ExportPlan['tables'][number]): PlanView['tables'][number] {
  const target = 'target_rows' in table ? table.target_rows : undefined
  return {
    name: formatTableName(table),
    rows: Math.round(table.rows),
    bytes: Math.round(table.bytes),
    ...(target === undefined ? {} : { target_rows: Math.round(target) }),
  }
}

/** Who waits, on what, and how long. */
function locksText({ engine, replaced, waits, outside_foreign_keys: keys }: Plan): string {
  switch (engine) {
    case 'create':
      return 'nobody waits: the tables are new'
    case 'truncate':
      return 'readers and writers of these tables wait while they are loaded'
    case 'merge':
      return waits.length === 0
        ? 'readers never wait; writers of these tables wait while the rows that differ are changed'
        : `readers and writers of these tables wait while the rows that differ are changed, because ${waits[0]}${
            waits.length === 1 ? '' : `, and ${waits.length - 1} more`
          }`
    case 'swap': {
      const ms = Math.max(3, replaced?.members ?? 0)
      const outside = keys.length === 0 ? '' : '; writers of outside tables wait while their keys are checked'
      return `readers and writers wait a few milliseconds at the swap (about 1 ms a table, here ${ms} ms)${outside}`
    }
  }
}

function cut(lines: string[]): string[] {
  return lines.length <= MAX_LINES ? lines : [...lines.slice(0, MAX_LINES), `and ${lines.length - MAX_LINES} more`]
}
