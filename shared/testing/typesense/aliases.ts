import { answerJson, readBody, Refusal, type Answer, type Call } from './answer.ts'
import type { State } from './state.ts'

const tell = (name: string, collection: string) => ({ collection_name: collection, name })

export function listAliases(state: State): Answer {
  return answerJson({ aliases: [...state.aliases].map(([name, collection]) => tell(name, collection)) })
}

export function getAlias(state: State, call: Call): Answer {
  const name = call.segments[1] ?? ''
  return answerJson(tell(name, requireTarget(state, name)))
}

/** What it points to need not be there. */
export function putAlias(state: State, call: Call): Answer {
  const name = call.segments[1] ?? ''
  const body = readBody(call)
  const collection = body['collection_name']
  if (collection === undefined) throw new Refusal(400, 'Parameter `collection_name` is required.')
  if (typeof collection !== 'string') throw new Refusal(400, 'Parameter `collection_name` must be a string.')
  if (state.collections.has(name))
    throw new Refusal(500, `Name \`${name}\` conflicts with an existing collection name.`)
  state.aliases.set(name, collection)
  return answerJson(tell(name, collection))
}

export function deleteAlias(state: State, call: Call): Answer {
  const name = call.segments[1] ?? ''
  const collection = requireTarget(state, name)
  state.aliases.delete(name)
  return answerJson(tell(name, collection))
}

function requireTarget(state: State, name: string): string {
  const collection = state.aliases.get(name)
  if (collection === undefined) throw new Refusal(404, 'Collection not found')
  return collection
}
