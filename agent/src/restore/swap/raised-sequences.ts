import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { splitEntries } from '../../postgres/dump-entries.ts'
import { readSequences } from '../../postgres/sequences.ts'
import type { Session } from '../../postgres/session.ts'
import type { Load } from '../load.ts'
import type { SequenceValue } from './change.ts'

const SETVAL = /^SELECT pg_catalog\.setval\('(?:[^']|'')*', (-?\d+), (true|false)\);$/m

/**
 * Of a whole database the values of sequences that no table owns: tables outside may count with them, so they are only
 * ever raised. Those of tables travel with the tables.
 */
export async function raisedSequences(session: Session, load: Load): Promise<SequenceValue[]> {
  if (!load.isWhole) return []
  // pg_dump's headers have blanks for line ends.
  const free = new Map(
    (await readSequences(session))
      .filter(({ tableOid }) => tableOid === null)
      .map((sequence) => [formatTableName(sequence).replaceAll(/[\r\n]/g, ' '), sequence]),
  )
  return splitEntries(load.schema.sequences).entries.flatMap((entry): SequenceValue[] => {
    const sequence = free.get(formatTableName(entry))
    const [, value, isCalled] = SETVAL.exec(entry.sql) ?? []
    if (entry.type !== 'SEQUENCE SET' || !sequence || value === undefined) return []
    return [{ sequence: { schema: sequence.schema, name: sequence.name }, value, isCalled: isCalled === 'true' }]
  })
}
