import { quoteLiteral } from '../../postgres/quote.ts'

/** One member of a document: its key, and an SQL expression of its JSON that is NULL where it is left out. */
export interface Member {
  key: string
  json: string
}

/** A function takes 100 arguments; the first is the separator. */
const PER_CALL = 99

/**
 * The select of a compiled mapping. `id` is the id's text in SQL, `source` what stands after `from`; the rows are `r` in all
 * expressions. concat_ws leaves NULLs out, which none of PostgreSQL's JSON functions does without looking inside of objects.
 */
export function writeDocuments(id: string, members: Member[], source: string): string {
  const pieces = [{ key: 'id', json: `to_json(${id})::text` }, ...members].map(
    ({ key, json }) => `${quoteLiteral(`${JSON.stringify(key)}:`)} || ${json}`,
  )
  return `select ${id} as id,\n  '{' || ${join(pieces)} || '}' as document\nfrom ${source}`
}

function join(pieces: string[]): string {
  const calls: string[] = []
  for (let at = 0; at < pieces.length; at += PER_CALL) {
    calls.push(`concat_ws(',',\n    ${pieces.slice(at, at + PER_CALL).join(',\n    ')})`)
  }
  const [only] = calls
  if (calls.length === 1 && only !== undefined) return only
  // The first call has the id; a later one may have nothing, and would leave a comma of its own.
  return join(calls.map((call, index) => (index === 0 ? call : `nullif(${call}, '')`)))
}
