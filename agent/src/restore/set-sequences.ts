import { formatTableName, type TableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries } from '../postgres/dump-entries.ts'
import { quoteTable } from '../postgres/quote.ts'
import { readSequences, readSharedSequences } from '../postgres/sequences.ts'
import type { Session } from '../postgres/session.ts'
import type { Load } from './load.ts'
import { raiseSql } from './swap/move-sql.ts'

/**
 * Gives sequences the origin's values: those owned by the tables, and all of them when the whole database is copied.
 * setval() alone is not rolled back with its transaction. ALTER SEQUENCE … RESTART gives the sequence a new file that
 * belongs to the transaction (since PostgreSQL 10), and setval() then writes into that one: so a rollback, or a crash,
 * leaves the old value. One with which others count, too, is only ever raised.
 */
export async function setSequences(session: Session, load: Load, tableOids: number[]): Promise<void> {
  const owners = new Set(tableOids)
  const present = (await readSequences(session)).filter(
    (sequence) => load.isWhole || (sequence.tableOid !== null && owners.has(sequence.tableOid)),
  )
  const byHeader = new Map(present.map((sequence) => [headerName(sequence), sequence]))
  const shared = new Map((await readSharedSequences(session, tableOids)).map((sequence) => [sequence.oid, sequence]))
  for (const entry of splitEntries(load.schema.sequences).entries) {
    const sequence = entry.type === 'SEQUENCE SET' ? byHeader.get(headerName(entry)) : undefined
    if (!sequence) continue
    const alsoOutside = shared.get(sequence.oid)
    const [, value, isCalled] = SETVAL.exec(entry.sql) ?? []
    if (alsoOutside && value !== undefined) {
      await session.run(raiseSql(alsoOutside, BigInt(value), isCalled === 'true'))
      continue
    }
    await session.run(`alter sequence ${quoteTable(sequence)} restart`)
    await session.run(entry.sql)
  }
}

const SETVAL = /^SELECT pg_catalog\.setval\('(?:[^']|'')*', (-?\d+), (true|false)\);$/m

/** pg_dump's headers have blanks for line ends. */
function headerName(sequence: TableName): string {
  return formatTableName(sequence).replaceAll(/[\r\n]/g, ' ')
}
