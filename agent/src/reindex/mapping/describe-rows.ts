import { SyncError } from '@multiboard-sync/shared/sync-error'
import { fromPgError } from '../../postgres/pg-error.ts'
import type { Session } from '../../postgres/session.ts'
import type { FoundColumn, FoundType } from './found-type.ts'

/** A column of the rows, and where it comes from when it is a column of a relation as it stands. */
export interface RowColumn extends FoundColumn {
  /** 0 for what is computed. */
  tableOid: number
  columnNumber: number
}

/**
 * The columns that a select answers, without reading a row. `source` is what stands after `from`. Goes through the extended
 * protocol, so that whatever the text is, it is one statement and does nothing. Throws SyncErrors.
 */
export async function describeRows(session: Session, source: string): Promise<RowColumn[]> {
  const query = { text: `${DESCRIBE}${source}\nlimit 0`, queryMode: 'extended' }
  const fields = await ask(session, query)
  const types = await readTypes(
    session,
    fields.map((field) => field.dataTypeID),
    fields.map((field) => field.dataTypeModifier),
  )
  return fields.map((field, index) => {
    const type = types[index]
    if (type === undefined) throw new SyncError('internal', 'The catalogue does not know a type that it answered.')
    return { name: field.name, type, tableOid: field.tableID, columnNumber: field.columnID }
  })
}

const DESCRIBE = 'select * from '

/** Where in `source` the server found its fault; undefined when it did not say. */
export function faultPosition(error: SyncError): number | undefined {
  const { cause } = error
  const position = cause instanceof Error && 'position' in cause ? Number(cause.position) : NaN
  return Number.isInteger(position) ? position - 1 - DESCRIBE.length : undefined
}

async function ask(session: Session, query: { text: string }) {
  try {
    return (await session.client.query(query)).fields
  } catch (error) {
    throw fromPgError(error, 'looking at the rows of a search mapping')
  }
}

interface TypeRow {
  at: number
  name: string
  schema: string
  title: string
  kind: FoundType['kind']
  typmod: number
}

/** The row description has seen through domains already, but not through the domains of an array's elements. */
async function readTypes(session: Session, oids: number[], typmods: number[]): Promise<FoundType[]> {
  const rows = await session.query<TypeRow>(TYPES_SQL, [oids, typmods])
  const types: FoundType[] = []
  // Elements come before their arrays.
  for (const { at, ...type } of rows) types[at - 1] = { ...type, element: types[at - 1] }
  return types
}

const TYPES_SQL = `
with recursive seen as (
  select a.at, 0 as depth, a.oid, a.typmod
  from unnest($1::oid[], $2::int4[]) with ordinality as a(oid, typmod, at)
  union all
  select s.at, case when t.typtype = 'd' then s.depth else s.depth + 1 end,
         case when t.typtype = 'd' then t.typbasetype else e.oid end,
         case when t.typtype = 'd' and t.typtypmod >= 0 then t.typtypmod else s.typmod end
  from seen s
  join pg_catalog.pg_type t on t.oid = s.oid
  left join pg_catalog.pg_type e on e.typarray = t.oid
  where t.typtype = 'd' or e.oid is not null
)
select s.at::int4 as at, t.typname::text as name, n.nspname::text as schema,
       pg_catalog.format_type(t.oid, s.typmod) as title, t.typtype::text as kind, s.typmod
from seen s
join pg_catalog.pg_type t on t.oid = s.oid
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where t.typtype <> 'd'
order by s.depth desc, s.at`
