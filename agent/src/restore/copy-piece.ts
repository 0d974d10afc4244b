import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import type { Feed, FeedPiece, PourOptions } from '../feed/feed.ts'
import type { Lane } from '../lanes/lanes.ts'
import { copyIn } from '../postgres/copy-in.ts'
import { fromPgError } from '../postgres/pg-error.ts'
import type { Session } from '../postgres/session.ts'

export interface PieceToCopy {
  piece: FeedPiece
  /** Of COPY, from the table's name on. */
  into: string
}

/**
 * Streams one piece into a table, with a COPY of its own in whatever transaction the session is in. Answers its rows. Throws
 * what the feed throws, `load-failed`, `constraint-violated`, `connection-lost`; and `proof-failed` when the server counted
 * other rows than were sent.
 */
export async function copyPiece(
  session: Session,
  feed: Feed,
  { piece, into }: PieceToCopy,
  lane: Lane,
  options: PourOptions,
): Promise<number> {
  const name = formatTableName(piece.table)
  const copy = copyIn(session.client, `copy ${into}`)
  // Between two listeners of the feed's: an error without any would end the process.
  copy.on('error', () => undefined)
  let rows: number
  try {
    ;({ rows } = await feed.pour(piece, copy, lane, options))
  } catch (error) {
    options.signal.throwIfAborted()
    throw error instanceof SyncError ? error : loadError(error, name)
  }
  if (copy.rowCount !== rows) throw miscounted(name, rows, copy.rowCount)
  return rows
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
