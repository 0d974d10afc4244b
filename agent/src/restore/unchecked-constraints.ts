import { splitEntries } from '../postgres/dump-entries.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'

interface Unchecked {
  schema: string
  table: string
  name: string
  definition: string
  comment: string | null
}

/**
 * Constraints that are NOT VALID hold for new rows only, and old rows that break them are copied with the others: pg_dump
 * makes such constraints after the rows. This is what takes them off the tables for the load, and what puts them back, in
 * SQL; of those that the origin (`postData` is its text) has in the same way, for the target's own hold for what is loaded.
 * Inherited ones go and come with their parent's. `sourceOf` gives the name of a table that stands aside.
 */
export async function readUncheckedConstraints(
  session: Session,
  tableOids: number[],
  postData: string,
  sourceOf: (schema: string) => string = (schema) => schema,
): Promise<{ drop: string[]; add: string[] }> {
  const found = await session.query<Unchecked>(UNCHECKED_SQL, [tableOids])
  if (found.length === 0) return { drop: [], add: [] }
  const shared = new Set(
    splitEntries(postData).entries.flatMap(({ type, schema, name, sql }) =>
      type.endsWith('CONSTRAINT') && sql.endsWith(' NOT VALID;') ? [`${schema} ${name}`] : [],
    ),
  )
  // pg_dump's headers have blanks for line ends.
  const constraints = found.filter(({ schema, table, name }) =>
    shared.has(`${sourceOf(schema)} ${table} ${name}`.replaceAll(/[\r\n]/g, ' ')),
  )
  return {
    drop: constraints.map((one) => `alter table ${nameOf(one)} drop constraint ${quoteIdent(one.name)}`),
    add: constraints.flatMap((one) => [
      `alter table ${nameOf(one)} add constraint ${quoteIdent(one.name)} ${one.definition}`,
      ...(one.comment === null
        ? []
        : [`comment on constraint ${quoteIdent(one.name)} on ${nameOf(one)} is ${quoteLiteral(one.comment)}`]),
    ]),
  }
}

function nameOf({ schema, table }: Unchecked): string {
  return quoteTable({ schema, name: table })
}

// 18 has NOT NULL constraints that are NOT VALID (contype n), and some that are NOT ENFORCED, which check nothing.
const UNCHECKED_SQL = `
select n.nspname::text as schema, c.relname::text as "table", k.conname::text as name,
       pg_catalog.pg_get_constraintdef(k.oid) as definition,
       pg_catalog.obj_description(k.oid, 'pg_constraint') as comment
from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where k.conrelid = any ($1::oid[]) and k.contype in ('c', 'n') and not k.convalidated and k.coninhcount = 0
  and pg_catalog.pg_get_constraintdef(k.oid) like '% NOT VALID'
order by 1, 2, 3`
