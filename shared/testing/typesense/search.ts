import { answerJson, JSON_TYPE, Refusal, type Answer, type Call } from './answer.ts'
import { indexedNumber, wordsOf } from './filter.ts'
import { parseJson, type JsonObject } from './json-text.ts'
import { matching, pick } from './read-documents.ts'
import { resolve, type State, type StoredCollection } from './state.ts'

/** What a match of one word in one field weighs, as recorded. The fake knows no better ones. */
const TEXT_MATCH = 578_730_123_365_189_753n

interface Hit {
  document: string
  parsed: JsonObject
  sequence: number
  highlights: { field: string; matched_tokens: string[]; snippet: string }[]
}

/** Everything for `*`, else documents that hold every word, each as the beginning of one. No typos, no ranking. */
export function searchDocuments(state: State, call: Call): Answer {
  const name = call.segments[1] ?? ''
  const collection = resolve(state, name)
  // Searches write their errors without the blank.
  if (!collection) return { status: 404, contentType: JSON_TYPE, body: '{"message":"Collection not found"}' }
  const { query } = call
  const asked = query.get('q') ?? ''
  if (!query.has('q')) throw new Refusal(400, 'Parameter `q` is required.')
  const perPage = Number(query.get('per_page') ?? query.get('limit') ?? 10)
  const page = Number(query.get('page') ?? 1)
  const fields = fieldsAsked(collection, asked, query.get('query_by'))
  const hits = sortHits(collection, [...findHits(collection, asked, fields, query.get('filter_by') ?? '')])
  const offset = query.has('offset') ? Number(query.get('offset')) : (page - 1) * perPage
  const outOf = collection.documents.size
  // A count-only server has no hits to show, and tells how many there would be.
  const found = state.keepDocuments ? hits.length : outOf
  const included = (query.get('include_fields') ?? '').split(',').filter((field) => field !== '')
  const excluded = (query.get('exclude_fields') ?? '').split(',').filter((field) => field !== '')
  return answerJson({
    facet_counts: [],
    found,
    hits: hits.slice(offset, offset + perPage).map((hit) => tellHit(hit, included, excluded)),
    out_of: outOf,
    page,
    request_params: {
      collection_name: collection.name,
      first_q: asked === '*' && outOf > 0 ? '' : asked,
      per_page: perPage,
      q: asked,
    },
    search_cutoff: false,
    search_time_ms: 0,
  })
}

function fieldsAsked(collection: StoredCollection, asked: string, queryBy: string | null): string[] {
  if (asked === '*') return []
  if (queryBy === null) throw new Refusal(400, 'No search fields specified for the query.')
  const fields = queryBy.split(',').map((name) => name.trim())
  for (const name of fields) {
    const field = collection.fields.find((candidate) => candidate.name === name)
    if (!field) throw new Refusal(404, `Could not find a field named \`${name}\` in the schema.`)
    if (!field.type.startsWith('string')) {
      throw new Refusal(400, `Field \`${name}\` should be a string or a string array.`)
    }
  }
  return fields
}

function* findHits(collection: StoredCollection, asked: string, fields: string[], filter: string): Generator<Hit> {
  let sequence = 0
  const found = filter === '' ? everything(collection) : matching(collection, filter)
  for (const [, document, parsed] of found) {
    sequence += 1
    if (asked === '*') {
      yield { document, parsed, sequence, highlights: [] }
      continue
    }
    const words = wordsOf(asked)
    const held = wordsOf(fields.map((field) => textOf(parsed.get(field))).join(' '))
    if (words.length === 0 || !words.every((word) => held.some((token) => token.startsWith(word)))) continue
    const highlights = fields.flatMap((field) => highlight(field, textOf(parsed.get(field)), words))
    yield { document, parsed, sequence, highlights }
  }
}

function* everything({ documents }: StoredCollection): Generator<[string, string, JsonObject]> {
  for (const [id, text] of documents.entries()) {
    const document = parseJson(text)
    if (document instanceof Map) yield [id, text, document]
  }
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string').join(' ') : ''
}

function highlight(field: string, text: string, asked: string[]): Hit['highlights'] {
  const matched: string[] = []
  const snippet = text.replaceAll(/[\p{L}\p{N}\p{M}]+/gu, (token) => {
    const plain = wordsOf(token).join('')
    if (!asked.some((word) => plain.startsWith(word))) return token
    matched.push(token)
    return `<mark>${token}</mark>`
  })
  return matched.length === 0 ? [] : [{ field, matched_tokens: matched, snippet }]
}

/** By the default sorting field, highest first, then the newest first. */
function sortHits({ defaultSortingField, fields }: StoredCollection, hits: Hit[]): Hit[] {
  const type = fields.find(({ name }) => name === defaultSortingField)?.type ?? ''
  const weigh = (hit: Hit) => indexedNumber(type, hit.parsed.get(defaultSortingField) ?? null) ?? 0
  return hits.sort((left, right) => {
    const [a, b] = [weigh(left), weigh(right)]
    if (a === b) return right.sequence - left.sequence
    return a < b ? 1 : -1
  })
}

function tellHit({ document, highlights }: Hit, included: string[], excluded: string[]): Record<string, unknown> {
  const told = {
    document: parseJson(pick(document, included, excluded)),
    highlight: Object.fromEntries(
      highlights.map(({ field, matched_tokens, snippet }) => [field, { matched_tokens, snippet }]),
    ),
    highlights,
  }
  if (highlights.length === 0) return told
  return {
    ...told,
    text_match: TEXT_MATCH,
    text_match_info: {
      best_field_score: '1108091338753',
      best_field_weight: 15,
      fields_matched: highlights.length,
      num_tokens_dropped: 0,
      score: String(TEXT_MATCH),
      tokens_matched: 1,
      typo_prefix_score: 0,
    },
  }
}
