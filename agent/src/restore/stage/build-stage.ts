import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries } from '../../postgres/dump-entries.ts'
import type { Target } from '../../postgres/open-target.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../../postgres/quote.ts'
import { openSession, type Session } from '../../postgres/session.ts'
import type { SetKey } from '../../postgres/swap-set/swap-set.ts'
import { inSessions } from '../in-sessions.ts'
import { runTogether } from '../run-together.ts'
import { inAside } from './aside.ts'
import type { StageRun } from './load-rows.ts'
import type { LoadedStage } from './load-stage.ts'
import { constraintSql, type StageIndex } from './stage-indexes.ts'

/**
 * Puts back what was taken off for the load, on the full tables: indexes of the biggest tables first and several at once,
 * their constraints, foreign keys within the set, triggers; gives the owned sequences the archive's values (`sequences`
 * is its text), and analyzes. Row security comes after the proof. Throws `constraint-violated` and the session's errors.
 */
export async function buildStage(target: Target, loaded: LoadedStage, sequences: string, run: StageRun): Promise<void> {
  const { indexes, stage, set } = loaded
  const { connections, reporter, signal } = run
  const some = { purpose: 'build', connections, signal }
  reporter.phase('building')
  for (const together of inTurns(loaded)) {
    await inSessions(target.database, some, together, async (session, index) => {
      // pg_get_indexdef() names no tablespace, and a role or database may have a default of its own.
      await session.run(`set default_tablespace = ''; ${index.definition}`)
      reporter.event('index.built', { index: index.name }, 'debug')
    })
  }
  await using session = await openSession(target.database, { purpose: 'build', signal })
  await runTogether(session, [...indexes.flatMap(constraintSql), ...loaded.unchecked])
  await setStageSequences(session, loaded, sequences)

  const keys = set.keys.filter(({ side }) => side === 'inner')
  const toValidate = keys.filter(isValidatedLater)
  await runTogether(
    session,
    keys.flatMap((key) => addKeySql(key, loaded)),
  )
  const byTable = [...Map.groupBy(toValidate, ({ table }) => formatTableName(table)).values()]
  await inSessions(target.database, some, byTable, async (one, ofTable) => {
    for (const key of ofTable) {
      await one.run(`alter table ${quoteTable(inAside(stage, key.table))} validate constraint ${quoteIdent(key.name)}`)
    }
  })
  await loaded.enableTriggers(session)
  const roots = await session.query<TableName>(ROOTS_SQL, [[...stage.schemas.values()]])
  await inSessions(target.database, some, roots, async (one, table) => await one.run(`analyze ${quoteTable(table)}`))
}

/**
 * A foreign key that names columns stands on the oldest unique index that has them: where one stands on another index
 * than the primary key's, that one is built before the table's other unique ones.
 */
function inTurns({ indexes, set, stage }: LoadedStage): StageIndex[][] {
  const used = new Set<string>()
  const tables = new Set<string>()
  for (const { side, referenced, index, tail, makeTail } of set.keys) {
    if (side === 'outbound' || makeTail !== tail) continue
    const { schema, name } = inAside(stage, referenced)
    used.add(formatTableName({ schema, name: index }))
    tables.add(formatTableName({ schema, name }))
  }
  const isLate = ({ schema, table, name, definition }: StageIndex): boolean =>
    definition.startsWith('CREATE UNIQUE') &&
    tables.has(formatTableName({ schema, name: table })) &&
    !used.has(formatTableName({ schema, name }))
  return [indexes.filter((index) => !isLate(index)), indexes.filter(isLate)]
}

/** ANALYZE of a partitioned table is one of its partitions too, and two of the same table wait for each other. */
const ROOTS_SQL = `
select n.nspname::text as schema, c.relname::text as name
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any ($1) and c.relkind in ('r', 'p') and not c.relispartition
order by pg_catalog.pg_table_size(c.oid) desc`

/** Two steps, so that the rows of several tables are checked at once. The server does not take all keys in two. */
function isValidatedLater(key: SetKey): boolean {
  return key.validated && key.enforced && key.tableKind === 'r' && !key.hasPeriod
}

function addKeySql(key: SetKey, { stage }: LoadedStage): string[] {
  const [on, name] = [quoteTable(inAside(stage, key.table)), quoteIdent(key.name)]
  const definition = `${key.head}${quoteTable(inAside(stage, key.referenced))}${key.makeTail}`
  return [
    `alter table ${on} add constraint ${name} ${definition}${isValidatedLater(key) ? ' not valid' : ''}`,
    ...(key.comment === null ? [] : [`comment on constraint ${name} on ${on} is ${quoteLiteral(key.comment)}`]),
  ]
}

/** `SELECT pg_catalog.setval('public.a_id_seq', 42, true);` */
const SETVAL = /, (-?\d+), (true|false)\);$/

/** Nobody counts with a staged sequence yet, so setval() needs no transaction. Names are the archive's. */
async function setStageSequences(session: Session, { stage }: LoadedStage, text: string): Promise<void> {
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
