import { programFacts } from './fingerprint-programs.ts'
import { relationFacts } from './fingerprint-relations.ts'
import { serverFacts } from './fingerprint-server.ts'
import { commonTables, type FactScope } from './fingerprint-terms.ts'
import type { Session } from './session.ts'

/*
 * A fingerprint of everything that is defined in a database: one line of JSON for every fact of the catalogue.
 *
 * Promises: equal for a database and for one restored from pg_dump's text of it on the same major version, whatever OIDs,
 * dropped columns, files and sequence values they have; different when any definition differs. Never: reads a row of a
 * user's table, options of user mappings, or what lies in a schema multiboard_sync*. Members of extensions are left out
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
}

/** Hashed in the server, so that nothing large travels. Sees the session's own uncommitted changes. */
export async function readFingerprint(session: Session, options: FingerprintOptions = {}): Promise<Fingerprint> {
  const [row] = await session.query<Fingerprint>(`
    ${factsSql(session.serverVersion, options)}
    select encode(sha256(convert_to(coalesce(string_agg(line, E'\\n' order by line collate "C"), ''), 'UTF8')), 'hex') as sha256,
           count(*)::int as lines
    from facts`)
  if (row === undefined) throw new Error('an aggregate answers one row')
  return row
}

/** The lines behind the hash, sorted by bytes: to name differences. Each is a JSON array that begins with the fact's kind. */
export async function readFingerprintLines(session: Session, options: FingerprintOptions = {}): Promise<string[]> {
  const rows = await session.query<{ line: string }>(
    `${factsSql(session.serverVersion, options)} select line from facts order by line collate "C"`,
  )
  return rows.map((row) => row.line)
}

function factsSql(version: number, options: FingerprintOptions): string {
  const scope: FactScope = { version, owners: options.owners ?? true, order: options.order ?? true }
  const facts = [...relationFacts(scope), ...programFacts(scope), ...serverFacts(scope)]
  return `with ${commonTables},\nfacts (line) as (\n${facts.join('\nunion all\n')}\n)`
}
