import { answerJson, answerMessage, isRecord, readBody, Refusal, stringsOf, type Answer, type Call } from './answer.ts'
import { countDocuments, holdDocuments } from './documents.ts'
import { readFields, tellChange, type Field } from './fields.ts'
import { maySee } from './keys.ts'
import { resolve, type State, type StoredCollection } from './state.ts'

const NOT_THERE = 'Collection not found'

export function requireCollection(state: State, name: string): StoredCollection {
  const collection = resolve(state, name)
  if (!collection) throw new Refusal(404, NOT_THERE)
  return collection
}

export function tellCollection(state: State, collection: StoredCollection): Record<string, unknown> {
  return {
    created_at: collection.createdAt,
    default_sorting_field: collection.defaultSortingField,
    enable_nested_fields: collection.nested,
    fields: collection.fields,
    ...(Object.keys(collection.metadata ?? {}).length > 0 && { metadata: collection.metadata }),
    name: collection.name,
    num_documents: collection.documents.size,
    symbols_to_index: collection.symbolsToIndex,
    token_separators: collection.tokenSeparators,
    ...(state.major >= 30 && { curation_sets: collection.curationSets, synonym_sets: collection.synonymSets }),
  }
}

export function listCollections(state: State, call: Call): Answer {
  const excluded = (call.query.get('exclude_fields') ?? '').split(',')
  const [offset, limit] = [countOf(call, 'offset'), countOf(call, 'limit')]
  const paged = offset > 0 || limit > 0
  if (offset > 0 && offset >= state.collections.size) throw new Refusal(400, 'Invalid offset param.')
  const all = [...state.collections.values()]
  // The newest first, but for pages.
  const sorted = paged ? all.sort((left, right) => (left.name < right.name ? -1 : 1)) : all.reverse()
  const page = sorted.slice(offset, limit > 0 ? offset + limit : undefined)
  const seen = page.filter(({ name }) => maySee(state, call.apiKey, name))
  const told = seen.map((collection) => {
    const members = Object.entries(tellCollection(state, collection))
    return Object.fromEntries(members.filter(([member]) => !excluded.includes(member)))
  })
  return answerJson(told)
}

function countOf(call: Call, name: 'offset' | 'limit'): number {
  const text = call.query.get(name) ?? '0'
  if (!/^\d+$/.test(text)) {
    throw new Refusal(400, `${name === 'offset' ? 'Offset' : 'Limit'} param should be unsigned integer.`)
  }
  return Number(text)
}

export function getCollection(state: State, call: Call): Answer {
  return answerJson(tellCollection(state, requireCollection(state, call.segments[1] ?? '')))
}

export function createCollection(state: State, call: Call): Answer {
  const source = call.query.get('src_name')
  const body = readBody(call)
  if (source !== null) return cloneCollection(state, source, body, call.query.has('copy_documents'))
  const name = readName(body)
  if (body['fields'] === undefined) throw new Refusal(400, 'Parameter `fields` is required.')
  if (state.collections.has(name)) throw new Refusal(409, `A collection with name \`${name}\` already exists.`)
  const nested = body['enable_nested_fields'] === true
  const fields = readFields(body['fields'], nested)
  const collection: StoredCollection = {
    ...emptyCollection(state, name),
    fields,
    defaultSortingField: readSortingField(body['default_sorting_field'], fields),
    nested,
    tokenSeparators: stringsOf(body['token_separators']),
    symbolsToIndex: stringsOf(body['symbols_to_index']),
    synonymSets: requireSets(state.synonymSets, 'Synonym', body['synonym_sets']),
    curationSets: requireSets(state.curationSets, 'Curation', body['curation_sets']),
    metadata: isRecord(body['metadata']) ? body['metadata'] : undefined,
  }
  // An alias of that name does not hinder it: the collection shadows the alias.
  state.collections.set(name, collection)
  return answerJson(tellCollection(state, collection), 201)
}

function emptyCollection(state: State, name: string): StoredCollection {
  return {
    name,
    createdAt: Math.floor(Date.now() / 1000),
    fields: [],
    defaultSortingField: '',
    nested: false,
    tokenSeparators: [],
    symbolsToIndex: [],
    synonymSets: [],
    curationSets: [],
    metadata: undefined,
    documents: state.keepDocuments ? holdDocuments() : countDocuments(),
    nextId: 0,
    synonyms: new Map(),
    overrides: new Map(),
  }
}

function readName(body: Record<string, unknown>): string {
  const name = body['name']
  if (name === undefined) throw new Refusal(400, 'Parameter `name` is required.')
  if (typeof name !== 'string' || name === '') throw new Refusal(400, 'Parameter `name` must be a non-empty string.')
  return name
}

function readSortingField(value: unknown, fields: Field[]): string {
  if (typeof value !== 'string' || value === '') return ''
  const name = value
  const field = fields.find((candidate) => candidate.name === name)
  if (!field) throw new Refusal(400, `Default sorting field is defined as \`${name}\` but is not found in the schema.`)
  if (field.optional) throw new Refusal(400, `Default sorting field \`${name}\` cannot be an optional field.`)
  if (!field.sort) {
    throw new Refusal(400, `Default sorting field \`${name}\` is not a sortable type.`)
  }
  return name
}

function requireSets(sets: ReadonlyMap<string, unknown>, kind: string, value: unknown): string[] {
  const names = stringsOf(value)
  for (const name of names) {
    if (!sets.has(name)) throw new Refusal(404, `${kind} set \`${name}\` not found.`)
  }
  return names
}

/** Schema and linked sets, and with `copy_documents` (from 30 on) the documents; never the metadata. */
function cloneCollection(state: State, source: string, body: Record<string, unknown>, copies: boolean): Answer {
  // By its real name: an alias is not looked for.
  const original = state.collections.get(source)
  if (!original) throw new Refusal(400, `Collection with name \`${source}\` not found.`)
  const name = body['name']
  if (typeof name !== 'string') throw new Refusal(400, 'Collection name must be provided.')
  if (state.collections.has(name)) throw new Refusal(400, `Collection with name \`${name}\` already exists.`)
  const clone: StoredCollection = {
    ...emptyCollection(state, name),
    fields: original.fields.map((field) => ({ ...field })),
    defaultSortingField: original.defaultSortingField,
    nested: original.nested,
    tokenSeparators: [...original.tokenSeparators],
    symbolsToIndex: [...original.symbolsToIndex],
    synonymSets: [...original.synonymSets],
    curationSets: [...original.curationSets],
    synonyms: new Map(original.synonyms),
    overrides: new Map(original.overrides),
  }
  state.collections.set(name, clone)
  if (copies && state.major >= 30) {
    for (const [id, document] of original.documents.entries()) clone.documents.set(id, Buffer.from(document))
    clone.nextId = original.nextId
  }
  return answerJson(tellCollection(state, clone), 201)
}

/** Through an alias it is the collection behind it that goes; the alias stays and leads nowhere. */
export function deleteCollection(state: State, call: Call): Answer {
  const name = call.segments[1] ?? ''
  const collection = resolve(state, name)
  if (!collection) return answerMessage(404, `No collection with name \`${name}\` found.`)
  const told = tellCollection(state, collection)
  state.collections.delete(collection.name)
  return answerJson(told)
}

export function changeCollection(state: State, call: Call): Answer {
  const body = readBody(call)
  if (Object.keys(body).length === 0) throw new Refusal(400, 'Alter payload is empty.')
  const changeable = ['metadata', 'fields', ...(state.major >= 30 ? ['synonym_sets', 'curation_sets'] : [])]
  if (Object.keys(body).some((member) => !changeable.includes(member))) {
    throw new Refusal(400, 'Only `fields`, `metadata` and `synonym_sets` can be updated at the moment.')
  }
  const collection = requireCollection(state, call.segments[1] ?? '')
  const told: Record<string, unknown> = {}
  if (body['fields'] !== undefined) told['fields'] = changeFields(collection, body['fields'])
  if (body['metadata'] !== undefined) {
    if (!isRecord(body['metadata'])) throw new Refusal(400, 'The `metadata` value should be an object.')
    told['metadata'] = collection.metadata = body['metadata']
  }
  if (state.major >= 30 && body['synonym_sets'] !== undefined) {
    told['synonym_sets'] = collection.synonymSets = requireSets(state.synonymSets, 'Synonym', body['synonym_sets'])
  }
  if (state.major >= 30 && body['curation_sets'] !== undefined) {
    told['curation_sets'] = collection.curationSets = requireSets(state.curationSets, 'Curation', body['curation_sets'])
  }
  return answerJson(told)
}

function changeFields(collection: StoredCollection, value: unknown): unknown[] {
  const changes = Array.isArray(value) ? value.filter(isRecord) : []
  if (changes.some(({ name }) => name === 'id')) throw new Refusal(400, 'Field `id` cannot be altered.')
  const dropped = changes.filter((change) => change['drop'] === true).map(({ name }) => String(name))
  const added = readFields(
    changes.filter((change) => change['drop'] !== true),
    collection.nested,
  )
  const left = collection.fields.filter(({ name }) => !dropped.includes(name))
  for (const name of dropped) {
    if (!collection.fields.some((field) => field.name === name)) {
      throw new Refusal(400, `Field \`${name}\` is not part of collection schema.`)
    }
  }
  for (const { name, optional } of added) {
    if (left.some((field) => field.name === name)) {
      throw new Refusal(
        400,
        `Field \`${name}\` is already part of the schema: To change this field, drop it first before adding it back to the schema.`,
      )
    }
    const changed = dropped.includes(name)
    if (!optional && !changed && collection.documents.size > 0) {
      throw new Refusal(
        400,
        `Field \`${name}\` has been declared in the schema, but is not found in the documents already present in the collection. If you still want to add this field, set it as \`optional: true\`.`,
      )
    }
  }
  collection.fields = [...left, ...added]
  return [...dropped.map((name) => ({ drop: true, name })), ...added.map(tellChange)]
}
