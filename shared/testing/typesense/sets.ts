import { answerJson, isRecord, readBody, Refusal, stringsOf, type Answer, type Call } from './answer.ts'
import { requireCollection } from './collections.ts'
import type { State, StoredCollection } from './state.ts'

/** Synonyms and curations: sets of their own from 30 on, a collection's belongings before. */

type Kind = 'synonym' | 'curation'
const setsOf = (state: State, kind: Kind) => (kind === 'synonym' ? state.synonymSets : state.curationSets)
const title = (kind: Kind) => (kind === 'synonym' ? 'Synonym' : 'Curation')

export const listSets =
  (kind: Kind) =>
  (state: State): Answer =>
    answerJson([...setsOf(state, kind).values()])

export const getSet =
  (kind: Kind) =>
  (state: State, call: Call): Answer => {
    return answerJson(requireSet(state, kind, call.segments[1] ?? ''))
  }

export const putSet =
  (kind: Kind) =>
  (state: State, call: Call): Answer => {
    const name = call.segments[1] ?? ''
    const body = readBody(call)
    if (!Array.isArray(body['items'])) throw new Refusal(400, 'Missing or invalid `items` field')
    const items = body['items'].filter(isRecord)
    const set = { ...body, items: kind === 'synonym' ? items.map(fillSynonym) : items, name }
    setsOf(state, kind).set(name, set)
    return answerJson(set)
  }

export const deleteSet =
  (kind: Kind) =>
  (state: State, call: Call): Answer => {
    const name = call.segments[1] ?? ''
    requireSet(state, kind, name)
    setsOf(state, kind).delete(name)
    return answerJson({ name })
  }

function requireSet(state: State, kind: Kind, name: string): Record<string, unknown> {
  const set = setsOf(state, kind).get(name)
  if (!set) throw new Refusal(404, kind === 'synonym' ? 'Synonym index not found' : `${title(kind)} index not found`)
  return set
}

function fillSynonym(item: Record<string, unknown>): Record<string, unknown> {
  return { ...item, root: typeof item['root'] === 'string' ? item['root'] : '', synonyms: stringsOf(item['synonyms']) }
}

type Belonging = 'synonyms' | 'overrides'
const belongingsOf = (collection: StoredCollection, kind: Belonging) => collection[kind]

export const listBelongings =
  (kind: Belonging) =>
  (state: State, call: Call): Answer => {
    const collection = requireCollection(state, call.segments[1] ?? '')
    return answerJson({ [kind]: [...belongingsOf(collection, kind).values()] })
  }

export const getBelonging =
  (kind: Belonging) =>
  (state: State, call: Call): Answer => {
    const found = belongingsOf(requireCollection(state, call.segments[1] ?? ''), kind).get(call.segments[3] ?? '')
    if (!found) throw new Refusal(404, kind === 'synonyms' ? 'Could not find that `id`.' : 'Could not find that `id`.')
    return answerJson(found)
  }

export const putBelonging =
  (kind: Belonging) =>
  (state: State, call: Call): Answer => {
    const collection = requireCollection(state, call.segments[1] ?? '')
    const id = call.segments[3] ?? ''
    const body = readBody(call)
    const held = { ...(kind === 'synonyms' ? fillSynonym(body) : body), id }
    belongingsOf(collection, kind).set(id, held)
    return answerJson(held)
  }

export const deleteBelonging =
  (kind: Belonging) =>
  (state: State, call: Call): Answer => {
    const id = call.segments[3] ?? ''
    const held = belongingsOf(requireCollection(state, call.segments[1] ?? ''), kind)
    if (!held.delete(id)) throw new Refusal(404, 'Could not find that `id`.')
    return answerJson({ id })
  }
