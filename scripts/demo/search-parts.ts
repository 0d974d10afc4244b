import { formatCount } from '../../shared/src/sizes.ts'
import { askSearch, type SearchServer } from '../search-server.ts'

/** What a search has found. */
export interface Found {
  query: string
  found: number
  /** The first ones' names, and what tells them apart. */
  hits: string[]
}

/** Things that an old staging alone has, and things that both have. */
const queries = ['only on staging', 'wall tile'] as const
const shownHits = 2
const searchTimeoutMs = 10_000

interface Answer {
  found: number
  hits: { document: { name: string; category: string; status: string; price?: number } }[]
}

/** The path of a search by every word of the query, as it stands: the same on every server. */
function searchPath(alias: string, query: string): string {
  const parameters = new URLSearchParams({
    q: query,
    query_by: 'name,description',
    per_page: String(shownHits),
    num_typos: '0',
    drop_tokens_threshold: '0',
  })
  return `/collections/${alias}/documents/search?${String(parameters)}`
}

/** Searches through the alias, as an application would. */
export async function searchParts(search: SearchServer & { alias: string }, signal: AbortSignal): Promise<Found[]> {
  const found: Found[] = []
  for (const query of queries) {
    const within = AbortSignal.any([signal, AbortSignal.timeout(searchTimeoutMs)])
    // The server's own form; the demo's mapping says which fields there are.
    const answer = (await askSearch(search, 'GET', searchPath(search.alias, query), { signal: within })) as Answer
    const hits = answer.hits.map(({ document: { name, category, price } }) =>
      [name, category, ...(price === undefined ? [] : [price.toFixed(2)])].join(', '),
    )
    found.push({ query, found: answer.found, hits })
  }
  return found
}

/** A line for each query. */
export function describeFound(found: readonly Found[]): string {
  const width = Math.max(...found.map(({ query }) => query.length)) + 2
  const lines = found.map(({ query, found: count, hits }) =>
    [`"${query}"`.padEnd(width), `${formatCount(count)} found`.padStart(13), hits.join(' | ')].join('  ').trimEnd(),
  )
  return lines.map((line) => `  ${line}`).join('\n')
}
