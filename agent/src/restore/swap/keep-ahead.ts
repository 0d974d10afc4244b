import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import { readSharedSequences } from '../../postgres/sequences.ts'
import type { Session } from '../../postgres/session.ts'
import type { SwapSet } from '../../postgres/swap-set/swap-set.ts'
import { inAside, type Aside } from '../stage/aside.ts'

/**
 * SQL for after the move: a sequence of the tables with which tables outside count, too, goes on where the replaced one
 * stands, or those would get values that they have already. It is never set back, and nothing waits: who counts with it is locked.
 * A rollback leaves the value raised, which a stage, or a kept table, can bear.
 */
export async function keepAheadSql(session: Session, set: SwapSet, previous: Aside): Promise<string[]> {
  const oids = set.members.map(({ oid }) => oid)
  const own = await session.query<{ oid: number }>(OWN_SQL, [oids])
  const moved = new Set(own.map(({ oid }) => oid))
  const shared = await readSharedSequences(session, oids)
  return shared
    .filter(({ oid }) => moved.has(oid))
    .map(({ counts, schema, name }) =>
      raiseToSql({ schema, name }, inAside(previous, { schema, name }), counts === 'up' ? '>' : '<'),
    )
}

function raiseToSql(sequence: TableName, replaced: TableName, further: '>' | '<'): string {
  return `select pg_catalog.setval(${quoteLiteral(quoteTable(sequence))}, o.last_value, o.is_called)
    from ${quoteTable(replaced)} o, ${quoteTable(sequence)} n
    where o.last_value ${further} n.last_value or (o.last_value = n.last_value and o.is_called)`
}

const OWN_SQL = `
select d.objid::int8::float8 as oid
from pg_catalog.pg_depend d
where d.classid = 'pg_catalog.pg_class'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
  and d.refobjid = any ($1::oid[]) and d.refobjsubid > 0 and d.deptype in ('a', 'i')`
