import { answerJson, Refusal, TEXT_TYPE, type Answer, type Call } from './answer.ts'
import { requireCollection } from './collections.ts'
import { readFilter, type Filter } from './filter.ts'
import { parseJson, writeJson, type JsonObject } from './json-text.ts'
import type { State, StoredCollection } from './state.ts'

const DELETE_TYPE = 'application/json'
/** A piece of an export. */
const PIECE_BYTES = 64 * 1024

export function getDocument(state: State, call: Call): Answer {
  const collection = requireCollection(state, call.segments[1] ?? '')
  return { ...answerJson({}), body: requireDocument(collection, call.segments[3] ?? '') }
}

export function deleteDocument(state: State, call: Call): Answer {
  const collection = requireCollection(state, call.segments[1] ?? '')
  const id = call.segments[3] ?? ''
  if (!collection.documents.has(id) && call.query.get('ignore_not_found') === 'true') return answerJson({ id })
  const body = requireDocument(collection, id)
  collection.documents.delete(id)
  return { ...answerJson({}), body }
}

function requireDocument({ documents }: StoredCollection, id: string): string {
  const document = documents.get(id)
  if (document === undefined) throw new Refusal(404, `Could not find a document with id: ${id}`)
  return document
}

export function deleteDocuments(state: State, call: Call): Answer {
  const collection = requireCollection(state, call.segments[1] ?? '')
  const filter = call.query.get('filter_by') ?? ''
  if (call.query.get('truncate') === 'true') {
    const deleted = collection.documents.size
    collection.documents.clear()
    return answerJson({ num_deleted: deleted }, 200, DELETE_TYPE)
  }
  if (!call.query.has('filter_by')) throw new Refusal(400, 'Parameter `filter_by` must be provided.')
  const ids = filter.trim() === '' ? [] : [...matching(collection, filter)].map(([id]) => id)
  for (const id of ids) collection.documents.delete(id)
  const told = { num_deleted: ids.length, ...(call.query.get('return_id') === 'true' && { ids }) }
  return answerJson(told, 200, DELETE_TYPE)
}

/** In the order of insertion. Throws the refusal of a filter at once. */
export function matching(
  collection: StoredCollection,
  filter: string,
): Generator<[string, string, JsonObject], undefined> {
  const asked = readFilter(collection, filter)
  return findMatching(collection, asked)
}

function* findMatching(
  collection: StoredCollection,
  asked: Filter,
): Generator<[string, string, JsonObject], undefined> {
  for (const [id, text] of asked.ids ? byIds(collection, asked.ids) : collection.documents.entries()) {
    const document = parseJson(text)
    if (document instanceof Map && asked.matches(document)) yield [id, text, document]
  }
}

function* byIds({ documents }: StoredCollection, ids: string[]): Generator<[string, string]> {
  for (const id of ids.toSorted((left, right) => documents.sequence(left) - documents.sequence(right))) {
    const text = documents.get(id)
    if (text !== undefined) yield [id, text]
  }
}

export function exportDocuments(state: State, call: Call): Answer {
  const collection = requireCollection(state, call.segments[1] ?? '')
  const filter = call.query.get('filter_by') ?? ''
  const found: IteratorObject<[string, string, ...unknown[]], unknown> =
    filter === '' ? collection.documents.entries() : matching(collection, filter)
  const included = namesOf(call.query.get('include_fields'))
  const excluded = namesOf(call.query.get('exclude_fields'))
  const lines = found.map(([, text]) =>
    included.length + excluded.length === 0 ? text : pick(text, included, excluded),
  )
  return { status: 200, contentType: TEXT_TYPE, body: pieces(lines) }
}

const namesOf = (list: string | null) =>
  (list ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')

export function pick(text: string, included: string[], excluded: string[]): string {
  const document = parseJson(text)
  if (!(document instanceof Map)) return text
  const kept = [...document].filter(
    ([name]) => !excluded.includes(name) && (included.length === 0 || included.includes(name)),
  )
  return writeJson(new Map(kept))
}

/** Newlines between the lines, none at the end. */
function* pieces(lines: Iterable<string>): Generator<Buffer> {
  let piece = ''
  let first = true
  for (const line of lines) {
    piece += first ? line : `\n${line}`
    first = false
    if (piece.length < PIECE_BYTES) continue
    yield Buffer.from(piece)
    piece = ''
  }
  if (piece !== '') yield Buffer.from(piece)
}
