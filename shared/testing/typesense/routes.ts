import { changeCollection, createCollection, deleteCollection, getCollection, listCollections } from './collections.ts'
import { deleteAlias, getAlias, listAliases, putAlias } from './aliases.ts'
import type { Answer, Call } from './answer.ts'
import { importDocuments } from './import.ts'
import { createKey, deleteKey, getKey, listKeys } from './keys.ts'
import { deleteDocument, deleteDocuments, exportDocuments, getDocument } from './read-documents.ts'
import { searchDocuments } from './search.ts'
import {
  deleteBelonging,
  deleteSet,
  getBelonging,
  getSet,
  listBelongings,
  listSets,
  putBelonging,
  putSet,
} from './sets.ts'
import type { State } from './state.ts'
import { answerDebug, answerMetrics, answerSchemaChanges, answerSnapshot, answerStats } from './system.ts'
import { writeDocumentAlone } from './write-document.ts'

export interface Route {
  method: string
  /** Segments; `*` is any one. */
  path: string
  /** `resource:operation`, which a key must grant. */
  action: string
  answer(state: State, call: Call): Answer
  /** Waits behind what else is written to its collection. */
  queued?: true
  since?: number
  until?: number
}

const route = (method: string, path: string, action: string, answer: Route['answer'], more: Partial<Route> = {}) => ({
  method,
  path,
  action,
  answer,
  ...more,
})

const queued = { queued: true } as const
const routes: Route[] = [
  route('GET', 'debug', 'debug:list', answerDebug),
  route('GET', 'stats.json', 'stats.json:list', answerStats),
  route('GET', 'metrics.json', 'metrics.json:list', answerMetrics),
  route('POST', 'operations/snapshot', 'operations/snapshot:create', answerSnapshot),
  route('GET', 'operations/schema_changes', 'operations/schema_changes:list', answerSchemaChanges),
  route('GET', 'collections', 'collections:list', listCollections),
  route('POST', 'collections', 'collections:create', createCollection),
  route('GET', 'collections/*', 'collections:get', getCollection),
  route('PATCH', 'collections/*', 'collections:update', changeCollection),
  route('DELETE', 'collections/*', 'collections:delete', deleteCollection),
  route('POST', 'collections/*/documents/import', 'documents:import', importDocuments, queued),
  route('GET', 'collections/*/documents/export', 'documents:export', exportDocuments),
  route('GET', 'collections/*/documents/search', 'documents:search', searchDocuments),
  route('POST', 'collections/*/documents', 'documents:create', writeDocumentAlone, queued),
  route('DELETE', 'collections/*/documents', 'documents:delete', deleteDocuments, queued),
  route('GET', 'collections/*/documents/*', 'documents:get', getDocument),
  route('PATCH', 'collections/*/documents/*', 'documents:update', writeDocumentAlone, queued),
  route('DELETE', 'collections/*/documents/*', 'documents:delete', deleteDocument, queued),
  route('GET', 'aliases', 'aliases:list', listAliases),
  route('GET', 'aliases/*', 'aliases:get', getAlias),
  route('PUT', 'aliases/*', 'aliases:upsert', putAlias),
  route('DELETE', 'aliases/*', 'aliases:delete', deleteAlias),
  route('GET', 'keys', 'keys:list', listKeys),
  route('POST', 'keys', 'keys:create', createKey),
  route('GET', 'keys/*', 'keys:get', getKey),
  route('DELETE', 'keys/*', 'keys:delete', deleteKey),
  ...(['synonym', 'curation'] as const).flatMap((kind) => [
    route('GET', `${kind}_sets`, `${kind}_sets:list`, listSets(kind), { since: 30 }),
    route('GET', `${kind}_sets/*`, `${kind}_sets:get`, getSet(kind), { since: 30 }),
    route('PUT', `${kind}_sets/*`, `${kind}_sets:upsert`, putSet(kind), { since: 30 }),
    route('DELETE', `${kind}_sets/*`, `${kind}_sets:delete`, deleteSet(kind), { since: 30 }),
  ]),
  ...(['synonyms', 'overrides'] as const).flatMap((kind) => [
    route('GET', `collections/*/${kind}`, `${kind}:list`, listBelongings(kind), { until: 29 }),
    route('GET', `collections/*/${kind}/*`, `${kind}:get`, getBelonging(kind), { until: 29 }),
    route('PUT', `collections/*/${kind}/*`, `${kind}:upsert`, putBelonging(kind), { until: 29 }),
    route('DELETE', `collections/*/${kind}/*`, `${kind}:delete`, deleteBelonging(kind), { until: 29 }),
  ]),
]

export function findRoute(state: State, call: Call): Route | undefined {
  return routes.find(({ method, path, since = 0, until = Infinity }) => {
    if (method !== call.method || state.major < since || state.major > until) return false
    const parts = path.split('/')
    const { segments } = call
    return parts.length === segments.length && parts.every((part, index) => part === '*' || part === segments[index])
  })
}
