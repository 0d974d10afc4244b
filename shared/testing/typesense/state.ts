import type { Documents } from './documents.ts'
import type { Field } from './fields.ts'

export interface StoredCollection {
  name: string
  createdAt: number
  fields: Field[]
  defaultSortingField: string
  nested: boolean
  tokenSeparators: string[]
  symbolsToIndex: string[]
  synonymSets: string[]
  curationSets: string[]
  metadata: Record<string, unknown> | undefined
  documents: Documents
  /** For documents that come without one. */
  nextId: number
  /** Before version 30 they belong to the collection, and die with it. */
  synonyms: Map<string, Record<string, unknown>>
  overrides: Map<string, Record<string, unknown>>
}

export interface StoredKey {
  id: number
  value: string
  description: string
  actions: string[]
  collections: string[]
  expiresAt: number
  autodelete: boolean
}

export interface State {
  version: string
  major: number
  apiKey: string
  keepDocuments: boolean
  collections: Map<string, StoredCollection>
  aliases: Map<string, string>
  synonymSets: Map<string, Record<string, unknown>>
  curationSets: Map<string, Record<string, unknown>>
  keys: StoredKey[]
  nextKey: number
  committedIndex: number
  capacity: { memoryTotalBytes: number; memoryUsedBytes: number; diskTotalBytes: number; diskUsedBytes: number }
}

/** What a name in a path means: a collection of that name, else the one behind the alias of that name. */
export function resolve(state: State, name: string): StoredCollection | undefined {
  const direct = state.collections.get(name)
  if (direct) return direct
  const target = state.aliases.get(name)
  return target === undefined ? undefined : state.collections.get(target)
}
