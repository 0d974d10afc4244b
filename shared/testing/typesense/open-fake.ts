import { planFaults, type Faults } from './faults.ts'
import { openIndexing } from './indexing.ts'
import type { LoggedRequest, Serving } from './serve.ts'
import type { State } from './state.ts'

export interface FakeOptions {
  /** Default `30.0`. Before 30, synonyms and overrides belong to a collection; from 30 on they are sets. */
  version?: string
  /** The key that may do everything. */
  apiKey?: string
  /** False: documents are counted, not held, every line as a new one; for benches. Default true. */
  keepDocuments?: boolean
}

export interface Fake {
  serving: Serving
  apiKey: string
  faults: Faults
  requests: LoggedRequest[]
  collections(): string[]
  aliases(): Map<string, string>
  documents(collection: string): string[]
  metadata(collection: string): Record<string, unknown> | undefined
  capacity: State['capacity']
}

/** The server without its port: what it holds, and what goes wrong. */
export function openFake(options: FakeOptions = {}): Fake {
  const { version = '30.0', apiKey = 'development-key', keepDocuments = true } = options
  const state: State = {
    version,
    major: Number.parseInt(version, 10),
    apiKey,
    keepDocuments,
    collections: new Map(),
    aliases: new Map(),
    synonymSets: new Map(),
    curationSets: new Map(),
    keys: [],
    nextKey: 0,
    committedIndex: 1,
    capacity: { memoryTotalBytes: 16e9, memoryUsedBytes: 2e9, diskTotalBytes: 250e9, diskUsedBytes: 50e9 },
  }
  const indexing = openIndexing(state)
  const plan = planFaults(indexing)
  const serving: Serving = { state, plan, indexing, requests: [] }
  const require = (name: string) => {
    const collection = state.collections.get(name)
    if (!collection) throw new Error(`The search server has no collection ${name}.`)
    return collection
  }
  return {
    serving,
    apiKey,
    faults: plan.faults,
    requests: serving.requests,
    collections: () => [...state.collections.keys()],
    aliases: () => new Map(state.aliases),
    documents: (name) => [...require(name).documents.entries()].map(([, document]) => document),
    metadata: (name) => require(name).metadata,
    capacity: state.capacity,
  }
}
