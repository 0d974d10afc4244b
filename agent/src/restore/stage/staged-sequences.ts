import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries } from '../../postgres/dump-entries.ts'
import { quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import type { Session } from '../../postgres/session.ts'
import { runTogether } from '../run-together.ts'
import type { Aside } from './aside.ts'

/** `SELECT pg_catalog.setval('public.a_id_seq', 42, true);` */
const SETVAL = /, (-?\d+), (true|false)\);$/

/** Nobody counts with a staged sequence yet, so setval() needs no transaction. Names are the archive's. */
export async function setStageSequences(session: Session, stage: Aside, text: string): Promise<void> {
  const present = await session.query<TableName & { counts: 'up' | 'down' }>(
    `select n.nspname::text as schema, c.relname::text as name,
            case when s.seqincrement > 0 then 'up' else 'down' end as counts
     from pg_catalog.pg_class c
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     join pg_catalog.pg_sequence s on s.seqrelid = c.oid
     where n.nspname = any ($1)`,
    [[...stage.schemas.values()]],
  )
  const sources = new Map([...stage.schemas].map(([schema, staged]) => [staged, schema]))
  const archived = new Map(
    splitEntries(text)
      .entries.filter(({ type }) => type === 'SEQUENCE SET')
      .map((entry) => [headerName(entry), entry]),
  )
  const statements = present.map(({ counts, ...staged }) => {
    const live = { ...staged, schema: sources.get(staged.schema) ?? '' }
    const entry = archived.get(headerName(live))
    if (entry === undefined) return keepValueSql(staged, live, counts === 'up' ? '>' : '<')
    const [, value, isCalled] = SETVAL.exec(entry.sql) ?? []
    if (value === undefined || isCalled === undefined) {
      throw new SyncError('archive-damaged', `The value of the sequence ${formatTableName(entry)} cannot be read.`)
    }
    return `select pg_catalog.setval(${quoteLiteral(quoteTable(staged))}, ${value}, ${isCalled})`
  })
  await runTogether(session, statements)
}

/**
 * Of a sequence that the archive does not know (the source has none there, or one of another name) the live value stays,
 * as it would if the table were filled in place; or the staged one, if columns that only the target has came further.
 */
function keepValueSql(staged: TableName, live: TableName, further: '>' | '<'): string {
  return `select pg_catalog.setval(${quoteLiteral(quoteTable(staged))}, l.last_value, l.is_called)
    from ${quoteTable(live)} l, ${quoteTable(staged)} s
    where l.last_value ${further} s.last_value or (l.last_value = s.last_value and l.is_called)`
}

/** pg_dump's headers have blanks for line ends. */
function headerName(sequence: TableName): string {
  return formatTableName(sequence).replaceAll(/[\r\n]/g, ' ')
}
