import { randomBytes } from 'node:crypto'
import { answerJson, readBody, Refusal, stringsOf, type Answer, type Call } from './answer.ts'
import type { State, StoredKey } from './state.ts'

/** The year 4021, which the server takes for never. */
const NEVER = 64_723_363_199
export const FORBIDDEN = 'Forbidden - a valid `x-typesense-api-key` header must be sent.'

/**
 * Whether the key may do it. An action of `*` or `documents:*` covers what it says; collections are whole-name patterns, and
 * are asked only where the path names a collection: a key for one collection may point any alias.
 */
export function mayDo(
  state: State,
  apiKey: string | undefined,
  action: string,
  collection: string | undefined,
): boolean {
  if (apiKey === undefined) return false
  if (apiKey === state.apiKey) return true
  const key = state.keys.find(({ value }) => value === apiKey)
  if (!key || key.expiresAt * 1000 < Date.now()) return false
  const [resource] = action.split(':')
  const allowed = key.actions.some((granted) => granted === '*' || granted === action || granted === `${resource}:*`)
  if (!allowed || collection === undefined) return allowed
  return coversCollection(key, collection)
}

/** Whether a list of collections shows this one to the key. */
export function maySee(state: State, apiKey: string | undefined, collection: string): boolean {
  if (apiKey === state.apiKey) return true
  const key = state.keys.find(({ value }) => value === apiKey)
  return key !== undefined && coversCollection(key, collection)
}

function coversCollection({ collections }: StoredKey, collection: string): boolean {
  return collections.some((pattern) => pattern === '*' || new RegExp(`^(?:${pattern})$`).test(collection))
}

const tell = ({ id, description, actions, collections, expiresAt, autodelete }: StoredKey) => ({
  actions,
  autodelete,
  collections,
  description,
  expires_at: expiresAt,
  id,
})

/** The only time that the value is told. */
export function createKey(state: State, call: Call): Answer {
  const body = readBody(call)
  if (!Array.isArray(body['actions']) || body['actions'].length === 0) {
    throw new Refusal(400, 'Wrong format for `actions`. It should be an array of string.')
  }
  if (!Array.isArray(body['collections']) || body['collections'].length === 0) {
    throw new Refusal(400, 'Wrong format for `collections`. It should be an array of string.')
  }
  const key: StoredKey = {
    id: state.nextKey++,
    value: typeof body['value'] === 'string' ? body['value'] : randomBytes(16).toString('hex'),
    description: typeof body['description'] === 'string' ? body['description'] : '',
    actions: stringsOf(body['actions']),
    collections: stringsOf(body['collections']),
    expiresAt: typeof body['expires_at'] === 'number' ? body['expires_at'] : NEVER,
    autodelete: body['autodelete'] === true,
  }
  state.keys.push(key)
  return answerJson({ ...tell(key), value: key.value }, 201)
}

const masked = (key: StoredKey) => ({ ...tell(key), value_prefix: key.value.slice(0, 4) })

export function listKeys(state: State): Answer {
  return answerJson({ keys: state.keys.map(masked) })
}

export function getKey(state: State, call: Call): Answer {
  return answerJson(masked(requireKey(state, call.segments[1] ?? '')))
}

export function deleteKey(state: State, call: Call): Answer {
  const key = requireKey(state, call.segments[1] ?? '')
  state.keys = state.keys.filter(({ id }) => id !== key.id)
  return answerJson({ id: key.id })
}

function requireKey(state: State, id: string): StoredKey {
  const key = state.keys.find((candidate) => String(candidate.id) === id)
  if (!key) throw new Refusal(404, 'Not found.')
  return key
}
