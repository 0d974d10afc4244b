/*
 * Finds out what a key may do without doing it: requests that a server answers with 400 or 404 when the key is good
 * enough, because they lack what they need or name a collection that is not there, and with 401 when it is not. The key is
 * looked at before anything else. Nothing is created, changed or deleted by them.
 */

/** Answers the HTTP status, whatever it is. Throws only when there is none. */
export type Ask = (method: string, path: string, body?: string) => Promise<number>

export interface ProbedNames {
  alias: string
  /** Looks like a generation's name, so that a key which is limited to some collections shows it; no collection has it. */
  probe: string
  hasSets: boolean
}

const NOT_ALLOWED = 401

/** Which of the rights that a reindex needs the key lacks, as `resource:action`, sorted as docs/TYPESENSE.md lists them. */
export async function probeRights(ask: Ask, names: ProbedNames): Promise<string[]> {
  const missing = new Set<string>()
  for (const { right, method, path, body } of probes(names)) {
    if ((await ask(method, path, body)) === NOT_ALLOWED) missing.add(right)
  }
  return [...missing]
}

interface Probe {
  right: string
  method: string
  path: string
  body?: string
}

function probes({ alias, probe, hasSets }: ProbedNames): Probe[] {
  const collection = `/collections/${encodeURIComponent(probe)}`
  return [
    // Without fields: 400.
    { right: 'collections:create', method: 'POST', path: '/collections', body: JSON.stringify({ name: probe }) },
    { right: 'collections:get', method: 'GET', path: collection },
    { right: 'collections:update', method: 'PATCH', path: collection, body: '{"metadata":{}}' },
    { right: 'collections:delete', method: 'DELETE', path: collection },
    { right: 'documents:import', method: 'POST', path: `${collection}/documents/import?action=create`, body: '' },
    { right: 'documents:export', method: 'GET', path: `${collection}/documents/export` },
    { right: 'documents:search', method: 'GET', path: `${collection}/documents/search?q=*` },
    // Searched once through the alias, before a reindex is called done. Without query_by, so nothing is found.
    {
      right: 'documents:search',
      method: 'GET',
      path: `/collections/${encodeURIComponent(alias)}/documents/search?q=*`,
    },
    { right: 'documents:get', method: 'GET', path: `${collection}/documents/probe` },
    // Without a filter: 400.
    { right: 'documents:delete', method: 'DELETE', path: `${collection}/documents` },
    // Without a collection: 400.
    { right: 'aliases:upsert', method: 'PUT', path: `/aliases/${encodeURIComponent(alias)}`, body: '{}' },
    ...(hasSets
      ? [
          { right: 'synonym_sets:list', method: 'GET', path: '/synonym_sets' },
          { right: 'curation_sets:list', method: 'GET', path: '/curation_sets' },
        ]
      : [
          { right: 'synonyms:list', method: 'GET', path: `${collection}/synonyms` },
          { right: 'overrides:list', method: 'GET', path: `${collection}/overrides` },
          { right: 'synonyms:upsert', method: 'PUT', path: `${collection}/synonyms/probe`, body: '{}' },
          { right: 'overrides:upsert', method: 'PUT', path: `${collection}/overrides/probe`, body: '{}' },
        ]),
  ]
}
