import type { Session } from '../../postgres/session.ts'
import type { CompiledMapping } from '../compiled-mapping.ts'
import { findUnfitParts } from './find-unfit-parts.ts'

/** Far below what one select may answer (1,664 columns) and one function may take. */
const CHECKS_PER_QUERY = 50

/**
 * Looks at all rows, in the session's snapshot, for what would make a document be refused or be another than its row. One
 * sentence for each kind, with a count and a field's name, never a value; [] when every row can be a document. The insides
 * of objects are looked at in a part of many rows: what is missed there the search server refuses, and the proof finds.
 */
export async function findUnfitRows(session: Session, compiled: CompiledMapping): Promise<string[]> {
  const { source, id, uniqueId, checks } = compiled.rows
  const all = [{ sql: `${id} is null`, says: 'have no id' }, { sql: `${id} = ''`, says: 'have an empty id' }, ...checks]
  const sentences: string[] = []
  const counts = all.map(({ sql }) => `count(*) filter (where ${sql})`)
  const duplicates = uniqueId ? "'0'::text" : `(count(${id}) - count(distinct ${id} collate "C"))::text`
  const groups: string[] = []
  for (let at = 0; at < counts.length; at += CHECKS_PER_QUERY) {
    groups.push(`array[${counts.slice(at, at + CHECKS_PER_QUERY).join(',\n')}]`)
  }
  const [row] = await session.query<{ duplicates: string; rows: number; counts: string[] }>(
    `select ${duplicates} as duplicates, count(*)::float8 as rows, (${groups.join(' || ')})::text[] as counts from ${source}`,
  )
  if (row === undefined) throw new Error('an aggregate answers one row')
  if (row.duplicates !== '0') sentences.push(sentence(row.duplicates, 'have the id of another row'))
  row.counts.forEach((count, index) => {
    if (count !== '0') sentences.push(sentence(count, all[index]?.says ?? ''))
  })
  return [...sentences, ...(await findUnfitParts(session, compiled, row.rows))]
}

function sentence(count: string, says: string): string {
  return count === '1' ? `1 row ${says.replace(/^have/, 'has')}.` : `${count} rows ${says}.`
}
