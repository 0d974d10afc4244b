import type { Database } from '../../control-plane/src/store/open-database.ts'
import type { Statement } from './watch-database.ts'

interface PlanNode {
  'Node Type'?: string
  'Relation Name'?: string
  Plans?: PlanNode[]
}

/**
 * Asks PostgreSQL how it would do a statement, with the values it was sent with, and answers those of `tables` that it would
 * read from end to end. What cannot be explained (begin, lock, set) reads no table.
 */
export async function findScans(
  database: Database,
  { sql, values }: Statement,
  tables: readonly string[],
): Promise<string[]> {
  if (!/^\s*(select|with|insert|update|delete)\b/i.test(sql)) return []
  const [row] = await database.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(`explain (format json) ${sql}`, values)
  const found = new Set<string>()
  const look = (node: PlanNode): void => {
    const table = node['Relation Name']
    if (node['Node Type'] === 'Seq Scan' && table !== undefined && tables.includes(table)) found.add(table)
    for (const child of node.Plans ?? []) look(child)
  }
  for (const { Plan } of row?.['QUERY PLAN'] ?? []) look(Plan)
  return [...found]
}
