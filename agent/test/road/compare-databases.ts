import { readTables, storedColumns } from '../../src/postgres/catalog.ts'
import { readChecksum } from '../../src/postgres/checksum.ts'
import { readFingerprintLines } from '../../src/postgres/fingerprint.ts'
import { quoteTable } from '../../src/postgres/quote.ts'
import { readSequences } from '../../src/postgres/sequences.ts'
import { openSession, type Session } from '../../src/postgres/session.ts'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'

/** All that a copy must keep of a database. Two of these are compared with toEqual, so that a difference has a name. */
interface DatabaseState {
  /** The catalogue's fingerprint, line by line. */
  definitions: string[]
  /** By table (and materialised view): rows, our checksum, and an MD5 over every row's text with generated columns. */
  tables: Record<string, { rows: number; checksum: string; text: string }>
  /** By sequence: last_value and is_called. */
  sequences: Record<string, string>
}

const DEADLINE_MS = 60_000

/** Owners and grants are left out on demand: an archive does not carry them, so a created copy has its own. */
export async function readState(url: string, options: { owners?: boolean } = {}): Promise<DatabaseState> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  await using session = await openSession({ name: 'looked-at', url, viaProxy: false }, { purpose: 'test', signal })
  return {
    definitions: await readFingerprintLines(session, { owners: options.owners ?? true }),
    tables: await readRows(session),
    sequences: await readValues(session),
  }
}

/** What `create` must bring over: everything but owners and grants. */
export async function readCopied(url: string): Promise<DatabaseState> {
  return await readState(url, { owners: false })
}

async function readRows(session: Session): Promise<DatabaseState['tables']> {
  const state: DatabaseState['tables'] = {}
  const populated = await session.query<{ oid: number }>(
    'select oid::int8::float8 as oid from pg_catalog.pg_class where relispopulated',
  )
  const readable = new Set(populated.map(({ oid }) => oid))
  for (const table of await readTables(session)) {
    if (table.kind === 'f' || !readable.has(table.oid)) continue
    const { rows, value } = await readChecksum(session, table, storedColumns(table.columns))
    const [text] = await session.query<{ text: string }>(
      `select coalesce(md5(string_agg(t::text, E'\\n' order by t::text collate "C")), '') as text
       from only ${quoteTable(table)} t`,
    )
    state[formatTableName(table)] = { rows, checksum: value, text: text?.text ?? '' }
  }
  return state
}

async function readValues(session: Session): Promise<DatabaseState['sequences']> {
  const state: DatabaseState['sequences'] = {}
  for (const sequence of await readSequences(session)) {
    const [row] = await session.query<{ value: string }>(
      `select last_value || ' ' || is_called as value from ${quoteTable(sequence)}`,
    )
    state[formatTableName(sequence)] = row?.value ?? ''
  }
  return state
}
