import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { readTables, storedColumns, userSchemas, type TableInfo } from '../src/postgres/catalog.ts'
import { dumpSchema } from '../src/postgres/dump-schema.ts'
import { readChecksum } from '../src/postgres/checksum.ts'
import { readFingerprintLines } from '../src/postgres/fingerprint.ts'
import { quoteTable } from '../src/postgres/quote.ts'
import { readSequences } from '../src/postgres/sequences.ts'
import { openSession, type Session } from '../src/postgres/session.ts'

/** All that a job must keep or bring, read at one moment. Two of these are compared with toEqual: a difference has a name. */
export interface Look {
  definitions: string[]
  dependencies: string[]
  /** pg_dump's text; undefined where none was asked. */
  dump: string | undefined
  /** By table and materialised view that is populated. */
  rows: Record<string, Rows>
  /** By sequence. */
  sequences: Record<string, SequenceState>
  tables: TableInfo[]
  /** Materialised views by name: what their query gives at this moment, and the tables they read. */
  matviews: Record<string, { fresh: string; reads: string[] }>
  /** Schemas of ours, but for the one of receipts: their kind by name. */
  asides: string[]
}

interface Rows {
  rows: number
  /** An MD5 over every row's text, generated columns and the order of columns included. */
  text: string
  columns: string
}

interface SequenceState {
  last: string
  called: boolean
  /** The table that owns it. */
  owner: string | null
}

const DEADLINE_MS = 60_000

async function open(url: string): Promise<Session> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  return await openSession({ name: 'looked-at', url, viaProxy: false }, { purpose: 'test', signal })
}

/** What a source has to be asked for. */
export async function lookAtRows(url: string): Promise<Pick<Look, 'rows' | 'sequences' | 'tables'>> {
  await using session = await open(url)
  const populated = await session.query<{ schema: string; name: string }>(
    `select n.nspname::text as schema, c.relname::text as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'm' and c.relispopulated`,
  )
  const tables = await readTables(session)
  const rows = await readRows(session, tables, new Set(populated.map(formatTableName)))
  return { rows, tables, sequences: await readSequenceStates(session, tables) }
}

export async function look(url: string, dump: Dump | undefined): Promise<Look> {
  await using session = await open(url)
  const tables = await readTables(session)
  const matviews = await readMatviews(session)
  return {
    definitions: await readFingerprintLines(session),
    dependencies: await readDependencies(session),
    dump: await dump?.(url),
    rows: await readRows(session, tables, new Set(Object.keys(matviews))),
    sequences: await readSequenceStates(session, tables),
    tables,
    matviews,
    asides: await readAsides(session),
  }
}

async function readRows(session: Session, tables: TableInfo[], populated: Set<string>): Promise<Look['rows']> {
  const rows: Look['rows'] = {}
  for (const table of tables) {
    const name = formatTableName(table)
    if (table.kind === 'f' || (table.kind === 'm' && !populated.has(name))) continue
    const columns = table.columns.map((column) => `${column.name} ${column.type}`).join(', ')
    rows[name] = { ...(await readText(session, `only ${quoteTable(table)}`)), columns }
  }
  return rows
}

async function readText(session: Session, from: string): Promise<{ rows: number; text: string }> {
  const [row] = await session.query<{ rows: number; text: string }>(
    `select count(*)::int as rows, coalesce(md5(string_agg(t::text, E'\\n' order by t::text collate "C")), '') as text
     from ${from} t`,
  )
  return row ?? { rows: 0, text: '' }
}

/** Rows and checksum of a table by these columns: for sides whose columns are not the same. */
export async function readColumns(url: string, table: TableName, columns: TableInfo['columns']): Promise<object> {
  await using session = await open(url)
  return await readChecksum(session, table, storedColumns(columns))
}

/** Every line of pg_depend about what users made, by name. Foreign keys' own triggers and TOAST have OIDs for names. */
async function readDependencies(session: Session): Promise<string[]> {
  const rows = await session.query<{ line: string }>(`
    select x.type || ' ' || x.identity || ' | ' || y.type || ' ' || y.identity || ' | ' || d.deptype::text as line
    from pg_depend d
    cross join lateral pg_identify_object(d.classid, d.objid, d.objsubid) x
    cross join lateral pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) y
    where d.objid >= 16384
      and x.identity !~ '(^|[ (])"?(multiboard_sync|pg_toast)' and y.identity !~ '(^|[ (])"?(multiboard_sync|pg_toast)'
      and not exists (select from pg_trigger t where t.oid = d.objid and d.classid = 'pg_trigger'::regclass and t.tgisinternal)
      and not exists (select from pg_trigger t where t.oid = d.refobjid and d.refclassid = 'pg_trigger'::regclass and t.tgisinternal)
    order by 1`)
  return rows.map(({ line }) => line)
}

async function readSequenceStates(session: Session, tables: TableInfo[]): Promise<Look['sequences']> {
  const owners = new Map(tables.map((table) => [table.oid, formatTableName(table)]))
  const states: Look['sequences'] = {}
  for (const sequence of await readSequences(session)) {
    const [row] = await session.query<{ last: string; called: boolean }>(
      `select last_value::text as last, is_called as called from ${quoteTable(sequence)}`,
    )
    const owner = sequence.tableOid === null ? null : (owners.get(sequence.tableOid) ?? null)
    states[formatTableName(sequence)] = { last: row?.last ?? '', called: row?.called ?? false, owner }
  }
  return states
}

async function readMatviews(session: Session): Promise<Look['matviews']> {
  const found = await session.query<{ schema: string; name: string; sql: string; reads: TableName[] }>(`
    with recursive reads (view, oid) as (
      select c.oid, c.oid from pg_class c where c.relkind = 'm'
      union
      select reads.view, d.refobjid
      from reads
      join pg_rewrite r on r.ev_class = reads.oid
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
    )
    select n.nspname::text as schema, c.relname::text as name, rtrim(pg_get_viewdef(c.oid), '; ') as sql,
      (select json_agg(json_build_object('schema', tn.nspname, 'name', t.relname))
       from reads join pg_class t on t.oid = reads.oid and t.relkind in ('r', 'p') join pg_namespace tn on tn.oid = t.relnamespace
       where reads.view = c.oid) as reads
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'm' and c.relispopulated and ${userSchemas}`)
  const matviews: Look['matviews'] = {}
  for (const { schema, name, sql, reads } of found) {
    const { text } = await readText(session, `(${sql})`)
    matviews[formatTableName({ schema, name })] = { fresh: text, reads: (reads ?? []).map(formatTableName) }
  }
  return matviews
}

async function readAsides(session: Session): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `select nspname::text as name from pg_namespace where nspname like 'multiboard\\_sync\\_%' order by 1`,
  )
  return rows.map(({ name }) => name)
}

/** The tables kept from before the swap of a job: their rows, by the names that they had. */
export async function readPrevious(url: string, job: string): Promise<Record<string, { rows: number; text: string }>> {
  await using session = await open(url)
  const found = await session.query<{ schema: string; aside: string; name: string }>(
    `select n.nspname::text as aside, n.comment ->> 'schema' as schema, c.relname::text as name
     from (select oid, nspname, obj_description(oid, 'pg_namespace')::json as comment
           from pg_namespace where nspname like 'multiboard\\_sync\\_prev\\_%') n
     join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p')
     where n.comment ->> 'job' = $1`,
    [job],
  )
  const previous: Record<string, { rows: number; text: string }> = {}
  for (const { schema, aside, name } of found) {
    previous[formatTableName({ schema, name })] = await readText(session, `only ${quoteTable({ schema: aside, name })}`)
  }
  return previous
}

export type Dump = (url: string) => Promise<string>

const execute = promisify(execFile)
const DUMP_MAX_BYTES = 64e6
const DUMP_ARGS = ['--schema-only', '--exclude-schema=multiboard_sync*']

/** A pg_dump on the PATH that can read a server of this major. */
export async function findPgDump(major: number): Promise<Dump | undefined> {
  try {
    const { stdout } = await execute('pg_dump', ['--version'])
    if (Number(/\) (\d+)/.exec(stdout)?.[1]) < major) return undefined
  } catch {
    return undefined
  }
  return async (url) => {
    const { stdout } = await execute('pg_dump', [...DUMP_ARGS, '--dbname', url], { maxBuffer: DUMP_MAX_BYTES })
    // Newer ones put a random word at both ends.
    return stdout.replaceAll(/^\\(un)?restrict .*\n/gm, '')
  }
}

/** The agent's own pg_dump takes half a second of one core. */
export const dumpBundled: Dump = async (url) =>
  await dumpSchema(
    { name: 'dumped', url, viaProxy: false },
    { args: DUMP_ARGS, signal: AbortSignal.timeout(DEADLINE_MS) },
  )
