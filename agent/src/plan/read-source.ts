import type { Route } from '@multiboard-sync/shared/policy'
import { dumpSource, type SchemaText } from '../postgres/dump-source.ts'
import type { Source } from '../postgres/open-source.ts'
import type { TableInfo } from '../postgres/catalog.ts'
import { checkSourceLocks } from './check-locks.ts'
import { checkSource } from './check-source.ts'
import { isMeant, selectTables } from './select-tables.ts'

/** What a job copies out of a source, settled under its snapshot. */
export interface AskedSource {
  source: Source
  tables: TableInfo[]
  schema: SchemaText
  /** The patterns that were asked for; undefined when every table is in. */
  patterns: string[] | undefined
}

/** Selects the tables, refuses what an archive does not carry, and takes the schema's text. */
export async function readSource(
  source: Source,
  patterns: string[] | undefined,
  route: Route | undefined,
  signal: AbortSignal,
): Promise<AskedSource> {
  const own = source.tables.filter((table) => (table.kind === 'r' || table.kind === 'p') && table.extension === null)
  const { chosen, left } = selectTables(own, patterns, route)
  const isWhole = left.length === 0
  const foreign = source.tables.filter((table) => table.kind === 'f' && isMeant(table, patterns, route))
  // Those of extensions are locked, too.
  await checkSourceLocks(source.holder, source.tables.filter(({ kind }) => kind === 'r' || kind === 'p').length)
  await checkSource(source.holder, { chosen, foreign, isWhole: isWhole && patterns === undefined })
  const schema = await dumpSource(source, left, signal)
  return {
    source,
    tables: chosen,
    schema,
    patterns: isWhole ? undefined : (patterns ?? route?.tables.include ?? ['*.*']),
  }
}
