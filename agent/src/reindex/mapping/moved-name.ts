import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { familyOf, nameOf, type Relation, type Relations } from './read-relations.ts'

/**
 * What a relation is called where `tables` lie in other schemas, by `schemas`; its own name where it was not among them.
 * Undefined where it cannot be told: a view, which goes on reading what it was made of, or a partitioned table of which only
 * some partitions have moved. `tables` may name partitions only: what holds no rows goes with them.
 */
export function movedName(
  relation: Relation,
  schemas: ReadonlyMap<string, string>,
  tables: TableName[],
  relations: Relations,
): TableName | undefined {
  if (relation.kind === 'f') return nameOf(relation)
  if (relation.kind !== 'r' && relation.kind !== 'p') return undefined
  const moved = new Set(tables.map(formatTableName))
  const leaves = familyOf(relation, relations).filter(({ kind }) => kind === 'r')
  const asked = leaves.length > 0 ? leaves : [relation]
  const count = asked.filter((one) => moved.has(formatTableName(one))).length
  if (count === 0 && !moved.has(formatTableName(relation))) return nameOf(relation)
  const schema = schemas.get(relation.schema)
  return count === asked.length && schema !== undefined ? { schema, name: relation.name } : undefined
}
