import type { Session } from '../../postgres/session.ts'
import type { RowColumn } from './describe-rows.ts'
import type { Relation } from './read-relations.ts'

/** Whether a unique index sees to it that no two rows of a table have the same value in a column. */
export async function isUnique(session: Session, relation: Relation, column: RowColumn): Promise<boolean> {
  // An heir by INHERITS has indexes of its own, and so may repeat what its parent has.
  const hasHeirs = relation.kind === 'r' && relation.children.length > 0
  if (hasHeirs || column.tableOid !== relation.oid) return false
  const [answer] = await session.query<{ unique: boolean }>(UNIQUE_SQL, [relation.oid, column.columnNumber])
  return answer?.unique === true
}

const UNIQUE_SQL = `
select exists (
  select from pg_catalog.pg_index x
  where x.indrelid = $1::oid and x.indisunique and x.indisvalid and x.indpred is null
    and x.indnkeyatts = 1 and x.indkey[0] = $2::int2 and x.indexprs is null
) as unique`
