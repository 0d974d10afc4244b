import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { programFacts } from './fingerprint-programs.ts'
import { relationFacts } from './fingerprint-relations.ts'
import { serverFacts } from './fingerprint-server.ts'
import { commonTables, relationsSetting, schemasSetting, type FactScope } from './fingerprint-terms.ts'
import { planQuery, prepareQuery } from './prepare-query.ts'
import { preparedRead, type PreparedRead } from './query-all.ts'
import { quoteLiteral } from './quote.ts'
import type { Session } from './session.ts'

/*
 * A fingerprint of everything that is defined in a database: one line of JSON for every fact of the catalogue.
 *
 * Promises: equal for a database and for one restored from pg_dump's text of it on the same major version, whatever OIDs,
 * dropped columns, files and sequence values they have; different when any definition differs. Never: reads a row of a
 * user's table, options of user mappings, or what lies in a schema multiboard_sync* unless it is asked for. Members of extensions are left out
 * (the extension itself is a fact), and so is what a dump does not carry: sequence values, whether a materialized view is
 * populated, versions of extensions.
 */

export interface Fingerprint {
  sha256: string
  lines: number
}

export interface FingerprintOptions {
  /** Owners, privileges and default privileges are facts. Default true; false after a dump with -O -x. */
  owners?: boolean
  /** The order of columns is a fact. Default true. */
  order?: boolean
  /** Whether foreign keys are facts: with all they have (default), whether validated or not the same, not at all. */
  keys?: 'all' | 'unvalidated' | 'none'
  /**
   * Only the relations of these schemas, which may be our own, and what hangs on them: no schemas, types, functions,
   * publications. With `relations` only those, their indexes, owned sequences and statistics.
   */
  within?: FingerprintExtent
}

interface FingerprintExtent {
  schemas: string[]
  relations?: TableName[]
}

/** Hashed in the server, so that nothing large travels. Sees the session's own uncommitted changes. */
export type PreparedFingerprint = PreparedRead<Fingerprint>

/** Hashed in the server, so that nothing large travels. Sees the session's own uncommitted changes. */
export async function readFingerprint(session: Session, options: FingerprintOptions = {}): Promise<Fingerprint> {
  await setExtent(session, options.within)
  // A job reads the same more than once, the scoped ones table by table.
  return await readOne(session, await prepareQuery(session, hashedSql(session.serverVersion, options)))
}

/** Of the whole database with `keys: 'all'` and with `keys: 'unvalidated'`, both of the same moment, in little more than one's time. */
export async function readBothFingerprints(session: Session): Promise<{ all: Fingerprint; unvalidated: Fingerprint }> {
  const [row] = await session.query<{ all: Fingerprint; unvalidated: Fingerprint }>(bothSql(session.serverVersion))
  if (row === undefined) throw new Error('an aggregate answers one row')
  return row
}

/**
 * Parses and plans now, so that reading under locks takes the time of the reading alone. `parsed` leaves the planning to
 * the first read: for whoever reads it once before the locks, too.
 */
export async function prepareFingerprint(
  session: Session,
  options: FingerprintOptions = {},
  upTo: 'parsed' | 'planned' = 'planned',
): Promise<PreparedFingerprint> {
  await setExtent(session, options.within)
  const prepare = upTo === 'parsed' ? prepareQuery : planQuery
  const execute = await prepare(session, hashedSql(session.serverVersion, options))
  return preparedRead(session, [...extentSql(options.within), execute], ([row]) => {
    if (row === undefined) throw new Error('an aggregate answers one row')
    return row as Fingerprint
  })
}

/** The lines behind the hash, sorted by bytes: to name differences. Each is a JSON array that begins with the fact's kind. */
export async function readFingerprintLines(session: Session, options: FingerprintOptions = {}): Promise<string[]> {
  await setExtent(session, options.within)
  const rows = await session.query<{ line: string }>(
    `${factsSql(session.serverVersion, options)} select line from facts order by line collate "C"`,
  )
  return rows.map((row) => row.line)
}

async function readOne(session: Session, sql: string): Promise<Fingerprint> {
  const [row] = await session.query<Fingerprint>(sql)
  if (row === undefined) throw new Error('an aggregate answers one row')
  return row
}

/** Says to the session what its next scoped fingerprint is of. */
async function setExtent(session: Session, within: FingerprintExtent | undefined): Promise<void> {
  for (const sql of extentSql(within)) await session.run(sql)
}

function extentSql(within: FingerprintExtent | undefined): string[] {
  if (within === undefined) return []
  const relations = within.relations?.map(({ schema, name }) => [schema, name]) ?? []
  const set = (setting: string, value: unknown): string =>
    `set_config(${quoteLiteral(setting)}, ${quoteLiteral(JSON.stringify(value))}, false)`
  return [`select ${set(schemasSetting, within.schemas)}, ${set(relationsSetting, relations)}`]
}

function hashedSql(version: number, options: FingerprintOptions): string {
  return `${factsSql(version, options)}
    select ${sha256Sql('')} as sha256, count(*)::int as lines
    from facts`
}

function sha256Sql(filter: string): string {
  const text = `string_agg(line, E'\\n' order by line collate "C")${filter}`
  return `encode(sha256(convert_to(coalesce(${text}, ''), 'UTF8')), 'hex')`
}

/** Facts that are the same in both are read once. */
function bothSql(version: number): string {
  const { common, facts } = factsOf(version, { keys: 'all' })
  const others = new Set(factsOf(version, { keys: 'unvalidated' }).facts)
  const lines = [
    ...facts.map((sql) => ({ sql, of: others.has(sql) ? 'both' : 'all' })),
    ...[...others].filter((sql) => !facts.includes(sql)).map((sql) => ({ sql, of: 'unvalidated' })),
  ].map(({ sql, of }) => `select '${of}', f.line from (\n${sql}\n) f (line)`)
  const hashOf = (which: string): string => {
    const filter = ` filter (where of in ('both', '${which}'))`
    return `json_build_object('sha256', ${sha256Sql(filter)}, 'lines', count(*)${filter}) as "${which}"`
  }
  return `with ${common},\nfacts (of, line) as (\n${lines.join('\nunion all\n')}\n)
    select ${hashOf('all')}, ${hashOf('unvalidated')}
    from facts`
}

function factsSql(version: number, options: FingerprintOptions): string {
  const { common, facts } = factsOf(version, options)
  return `with ${common},\nfacts (line) as (\n${facts.join('\nunion all\n')}\n)`
}

function factsOf(version: number, options: FingerprintOptions): { common: string; facts: string[] } {
  const { owners = true, order = true, keys = 'all', within } = options
  const extent = within === undefined ? 'database' : within.relations === undefined ? 'schemas' : 'relations'
  const scope: FactScope = { version, owners, order, keys, extent }
  const elsewhere = extent === 'database' ? [...programFacts(scope), ...serverFacts(scope)] : []
  return { common: commonTables(scope), facts: [...relationFacts(scope), ...elsewhere] }
}
