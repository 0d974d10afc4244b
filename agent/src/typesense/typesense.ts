import type { Readable } from 'node:stream'

/*
 * One search server, as the rest of the agent sees it. Everything goes through the `typesense` client but imports, exports,
 * single documents, /status and what is older than version 30; those go straight over the wire that the client uses, too
 * (send-requests.ts; docs/TYPESENSE.md says why).
 *
 * Promises: errors are SyncErrors (`search-unreachable`, `search-auth`, `search-full`, `search-failed`) without keys, URLs or
 * documents; `retryable` is true for 503 and for network failures; aborting the signal ends every call at once.
 * Never: deletes by an alias's name, creates a collection under one, sends a body a second time on its own.
 */

/** A field as POST /collections takes it; options that are left out have the server's defaults. */
export interface CollectionField {
  name: string
  type: string
  optional?: boolean
  facet?: boolean
  index?: boolean
  infix?: boolean
  sort?: boolean
  stem?: boolean
  store?: boolean
  range_index?: boolean
  locale?: string
  reference?: string
}

/** What makes a collection, but for its name, its metadata and what it is linked to. */
export interface CollectionSchema {
  fields: CollectionField[]
  default_sorting_field?: string
  enable_nested_fields?: boolean
  token_separators?: string[]
  symbols_to_index?: string[]
}

/** A collection as the server tells it: its fields come with all defaults, and with children of objects that it inferred. */
export interface Collection extends CollectionSchema {
  /** The real one, never an alias. */
  name: string
  /** Means something only while no writes are queued. */
  documents: number
  metadata: Record<string, unknown>
  /** Linked sets, from version 30 on. */
  synonymSets: string[]
  curationSets: string[]
}

export interface Capacity {
  memoryTotalBytes: number
  memoryUsedBytes: number
  diskTotalBytes: number
  diskUsedBytes: number
}

/** A line of an import that the server refused. The error may quote values: normalise it before it is told to anybody. */
export interface RefusedLine {
  /** Zero-based, of the lines sent. */
  line: number
  code: number
  error: string
}

export interface Typesense extends AsyncDisposable {
  readonly version: { major: number; text: string }
  /** Version 30 and later: synonyms and curations are sets of their own, which collections are linked to. */
  readonly hasSets: boolean
  /** No key needed. `resourceError` is OUT_OF_DISK or OUT_OF_MEMORY while `ok` is true. */
  health(): Promise<{ ok: boolean; resourceError?: string }>
  /** Healthy is not caught up: counts mean something only when this is 0. */
  queuedWrites(): Promise<number>
  /** Undefined where the key may not read metrics. */
  capacity(): Promise<Capacity | undefined>
  /** Which rights the key lacks, as `resource:action`: see probe-rights.ts. `probe` is a name that no collection has. */
  missingRights(alias: string, probe: string): Promise<string[]>
  /** Names of the sets there are; none before version 30. Throws `search-auth` where the key may not list them. */
  listSets(): Promise<{ synonymSets: string[]; curationSets: string[] }>
  /** Alias to real name. */
  listAliases(): Promise<Map<string, string>>
  /** Points an alias, and reads it back. Throws `search-failed` when it does not point there then. */
  putAlias(alias: string, collection: string): Promise<void>
  /** All collections, by their real names. */
  listCollections(): Promise<Collection[]>
  /** The collection of this real name; undefined when there is none, also where an alias bears the name. */
  findCollection(name: string): Promise<Collection | undefined>
  createCollection(collection: {
    name: string
    schema: CollectionSchema
    metadata: Record<string, unknown>
    synonymSets?: string[]
    curationSets?: string[]
  }): Promise<void>
  /** From version 30 on: a copy with all documents and links, under a new name. The server answers when it is whole. */
  copyCollection(from: string, to: string): Promise<void>
  /** Replaces the metadata. */
  setMetadata(name: string, metadata: Record<string, unknown>): Promise<void>
  /** Drops a collection by its real name, after reading all aliases. Throws `search-changed` when one points to it, or is called so. */
  dropCollection(name: string): Promise<void>
  /**
   * Sends whole JSON lines, once. Answers the refused lines. Throws `search-failed` (retryable) when there are not as many
   * answers as lines: what was sent may have been applied all the same, so it is sent again with `upsert`.
   */
  importDocuments(
    name: string,
    body: Buffer,
    options: { lines: number; action: 'create' | 'upsert'; signal?: AbortSignal },
  ): Promise<RefusedLine[]>
  /** In lists that fit a proxy's limits. Ids that are not there are ignored. Answers how many were deleted. */
  deleteDocuments(name: string, ids: string[]): Promise<number>
  /** JSON lines, as they come. Keys are sorted by the server. The stream ends with an error when the connection is cut. */
  exportDocuments(name: string, options?: { fields?: string[] }): Promise<Readable>
  /** The document as JSON text: numbers beyond 2^53 stay exact. Undefined when there is none. */
  readDocument(name: string, id: string): Promise<string | undefined>
  /** How many documents a search for everything finds through an alias or a real name. */
  searchAll(name: string): Promise<number>
  /** Before version 30: what belongs to one collection and is lost with it. Empty from 30 on. */
  readBelongings(name: string): Promise<Belongings>
  writeBelongings(name: string, belongings: Belongings): Promise<void>
}

/** Synonyms and overrides as the server answered them. */
interface Belongings {
  synonyms: Record<string, unknown>[]
  overrides: Record<string, unknown>[]
}
