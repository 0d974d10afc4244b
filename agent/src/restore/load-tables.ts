import { pipeline } from 'node:stream/promises'
import type { ArchivedTable, Part } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import copyStreams from 'pg-copy-streams'
import type { OpenedArchive } from '../archive/archive-reader.ts'
import { copyColumns } from '../postgres/catalog.ts'
import { fromPgError } from '../postgres/pg-error.ts'
import { quoteTable } from '../postgres/quote.ts'
import type { Session } from '../postgres/session.ts'
import type { Reporter } from '../report/reporter.ts'

/**
 * Streams the tables' parts into the target, inside the caller's transaction, one after the other on its connection.
 * FREEZE is allowed because every table was created or truncated in this transaction, and keeps a REPEATABLE READ
 * reader that is older than the commit from seeing an empty table (PostgreSQL docs, COPY and TRUNCATE).
 * Throws `archive-damaged`, `load-failed`, `constraint-violated` and what the session throws.
 */
export async function loadTables(
  session: Session,
  archive: OpenedArchive,
  tables: ArchivedTable[],
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const bytesTotal = tables.reduce((sum, table) => sum + table.bytes, 0)
  reporter.phase('loading')
  let rows = 0
  let bytes = 0
  for (const [index, table] of tables.entries()) {
    const name = formatTableName(table)
    for (const part of table.parts) {
      const into = `${quoteTable(table)} ${copyColumns(table.columns)} from stdin with (freeze)`
      await copyPart(session, archive, { table, part, into }, signal, (partBytes, partRows) => {
        rows += partRows
        bytes += partBytes
        reporter.progress({ table: name, tablesDone: index, tablesTotal: tables.length, rows, bytes, bytesTotal })
      })
    }
    reporter.progress({ table: undefined, tablesDone: index + 1, tablesTotal: tables.length, rows, bytes, bytesTotal })
    reporter.event('table.loaded', { table: name, rows: table.rows, bytes: table.bytes })
  }
}

export interface PartToCopy {
  table: ArchivedTable
  part: Part
  /** Of COPY, from the table's name on. */
  into: string
}

/** Streams one part into a table. Throws `proof-failed` when the server counted other rows than were sent. */
export async function copyPart(
  session: Session,
  archive: OpenedArchive,
  { table, part, into }: PartToCopy,
  signal: AbortSignal,
  onBytes: (bytes: number, rows: number) => void,
): Promise<void> {
  const name = formatTableName(table)
  const source = await archive.readRows(table, part, signal, onBytes)
  const copy = session.client.query(copyStreams.from(`copy ${into}`))
  try {
    await pipeline(source, copy, { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw error instanceof SyncError ? error : loadError(error, name)
  }
  if (copy.rowCount !== part.rows) throw miscounted(name, part.rows, copy.rowCount)
}

/** What the server says to a row without naming a constraint: most often a value that the column's type does not take. */
function loadError(error: unknown, table: string): SyncError {
  const known = fromPgError(error, `loading ${table}`)
  if (known.code !== 'query-failed') return known
  // Everything here runs under an empty search_path, as pg_restore does.
  const lacksName = /\((?:42883|42P01|42704|3F000)\)/.test(known.message)
  return new SyncError('load-failed', known.message, {
    hint: lacksName
      ? 'A function that a CHECK, index, default or generated column of the table calls depends on the search_path: alter function … set search_path = ….'
      : "A value does not fit the target's column, domain or trigger; compare the definitions of both sides.",
    details: known.details,
    cause: known.cause,
  })
}

function miscounted(table: string, expected: number, found: number | null): SyncError {
  return new SyncError(
    'proof-failed',
    `Of ${table} ${expected} rows were sent and the server counted ${found ?? 'none'}.`,
    {
      hint: 'Everything was rolled back. Report this as a bug.',
    },
  )
}
