import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { quoteIdent, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import type { SetKey } from '../../postgres/swap-set/swap-set.ts'

/**
 * The foreign keys, as `public.Child "Child_parent_fkey"`, that rows would violate when the set's members are read under
 * other names: those of the stage, or of the previous tables. Reads as the server's own check does (RI_Initial_Check):
 * ONLY where a table is no partitioned one, with the key's own operators and collation, MATCH FULL and SIMPLE. Keys that are NOT VALID or NOT
 * ENFORCED promise nothing and are not asked; those over a PERIOD are left to the server.
 */
export async function findOrphans(
  session: Session,
  keys: SetKey[],
  rename: (member: TableName) => TableName,
): Promise<string[]> {
  const asked = keys.filter(({ validated, enforced, hasPeriod }) => validated && enforced && !hasPeriod)
  const partitioned = await readPartitioned(session, asked)
  const violated: string[] = []
  for (const key of asked) {
    const [row] = await session.query<{ violated: boolean }>(orphanSql(key, rename, partitioned))
    if (row?.violated) violated.push(`${formatTableName(key.table)} "${key.name}"`)
  }
  return violated
}

async function readPartitioned(session: Session, keys: SetKey[]): Promise<Set<number>> {
  const rows = await session.query<{ oid: number }>(
    `select oid::int8::float8 as oid from pg_catalog.pg_class where relkind = 'p' and oid::int8::float8 = any ($1)`,
    [keys.flatMap(({ tableOid, referencedOid }) => [tableOid, referencedOid])],
  )
  return new Set(rows.map(({ oid }) => oid))
}

function orphanSql(key: SetKey, rename: (member: TableName) => TableName, partitioned: Set<number>): string {
  const from = (table: TableName, oid: number, isMember: boolean): string =>
    `${partitioned.has(oid) ? '' : 'only '}${quoteTable(isMember ? rename(table) : table)}`
  const matches = key.columns.map(
    ({ name, referenced, operator, collation }) =>
      `p.${quoteIdent(referenced)} ${operator} f.${quoteIdent(name)}${collation}`,
  )
  const given = key.columns.map(({ name }) => `f.${quoteIdent(name)} is not null`)
  return `select exists (
    select from ${from(key.table, key.tableOid, key.side !== 'inbound')} f
    where (${given.join(key.matchFull ? ' or ' : ' and ')})
      and not exists (select from ${from(key.referenced, key.referencedOid, key.side !== 'outbound')} p
                      where ${matches.join(' and ')})
  ) as violated`
}
