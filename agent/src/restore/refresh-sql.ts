import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteTable } from '../postgres/quote.ts'
import { valueSettings } from '../postgres/session.ts'

/** REFRESH MATERIALIZED VIEW for a session of ours, in or outside a transaction. `how`: `concurrently ` or nothing. */
export function refreshSql(view: TableName, how = ''): string {
  return underPlainSettings(`refresh materialized view ${how}${quoteTable(view)}`)
}

/**
 * Runs SQL that computes rows as a session without settings of its own would: `at::date` depends on the time zone, and our
 * sessions have UTC whatever the database's is. And with row security applied: the view's owner may be subject to it, which
 * our sessions, who would rather fail than read a part, do not allow. One message; what is set is as before at its end.
 */
export function underPlainSettings(sql: string): string {
  return [
    ...valueSettings.map(([name]) => `set local ${name} to default`),
    'set local row_security = on',
    sql,
    'set local row_security = off',
    ...valueSettings.map(([name, value]) => `set local ${name} = ${value}`),
  ].join(';\n')
}
