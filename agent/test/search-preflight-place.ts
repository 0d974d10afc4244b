import { collectionsSchema, type Mapping } from '@multiboard-sync/shared/mapping'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { startTypesense, type FakeTypesense, type TypesenseOptions } from '@multiboard-sync/shared/testing/typesense'
import { openSession, type DatabaseUrl, type Session } from '../src/postgres/session.ts'
import { generationName, writeGeneration, type Generation } from '../src/reindex/generation.ts'
import { compileMapping } from '../src/reindex/mapping/compile-mapping.ts'
import { planReindex, type ReindexRequest } from '../src/reindex/preflight/plan-reindex.ts'
import type { PlannedReindex } from '../src/reindex/planned-reindex.ts'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import type { Typesense } from '../src/typesense/typesense.ts'

/* A database with rows, a search server, and a preflight over both. */

export const DEADLINE_MS = 20_000
export const JOB = 'j4k7q2m9xw1ab'
const AT = new Date('2026-11-22T16:03:00Z')

export interface Rows extends AsyncDisposable {
  session: Session
  url: DatabaseUrl
}

/** One database for a file: a hundred good rows, and three that cannot be documents. */
export async function openRows(): Promise<Rows> {
  const database = await createDatabase({
    sql: `
      create table "Part" (id text primary key, name text not null, qty integer, note text);
      insert into "Part" select 'p' || n, 'Part ' || n, n, null from generate_series(1, 100) n;
      create table "Odd" (id text, name text);
      insert into "Odd" values ('a', 'A'), ('a', null), (null, 'C');
    `,
  })
  const url = { name: 'staging', url: database.url, viaProxy: false }
  const session = await openSession(url, {
    purpose: 'test',
    signal: AbortSignal.timeout(DEADLINE_MS * 10),
    readOnly: true,
  })
  return {
    session,
    url,
    [Symbol.asyncDispose]: async () => {
      await session.close()
      await database[Symbol.asyncDispose]()
    },
  }
}

export const PARTS = {
  database: 'staging',
  from: 'public.Part',
  fields: [
    { name: 'name', type: 'string' },
    { name: 'qty', type: 'int32', optional: true },
  ],
  verify: { min_count: 1, max_shrink_pct: 30, sample: 0 },
}

export function mappingOf(over: object = {}): Mapping {
  const { parts } = collectionsSchema.parse({ parts: { ...PARTS, ...over } })
  if (!parts) throw new Error('no mapping')
  return parts
}

export const ALL_BUT_METRICS = [
  'collections:*',
  'documents:*',
  'aliases:*',
  'synonym_sets:list',
  'curation_sets:list',
  'debug:list',
  'status:list',
]

export interface Live {
  alias: string
  state: Generation['state']
  documents: number
  synonymSets: string[]
}

export interface Place {
  fake: FakeTypesense
  typesense: Typesense
  session: Session
  plan(over?: Partial<ReindexRequest>): Promise<PlannedReindex[]>
  /** The first of them. */
  planned(over?: Partial<ReindexRequest>): Promise<PlannedReindex>
  /** The findings, which stand in the details of the one error. */
  findings(over?: Partial<ReindexRequest>): Promise<string[]>
  /** A live generation of ours, filled as far as the preflight looks at it. Answers its name. */
  makeLive(over?: Partial<Live>): Promise<string>
  makePlain(name: string): Promise<void>
  /** The server as somebody with such a key has it. */
  limitedKey(actions: string[], collections?: string[]): Promise<Typesense>
  open(apiKey: string): Promise<Typesense>
  restart(options: TypesenseOptions): Promise<void>
  post(path: string, body: object): Promise<object>
  put(path: string, body: object): Promise<object>
  remove(path: string): Promise<object>
  close(): Promise<void>
}

export async function openPlace(session: Session): Promise<Place> {
  let fake = await startTypesense()
  let typesense = await open(fake.apiKey)

  async function open(apiKey: string): Promise<Typesense> {
    return await openTypesense({ url: new URL(fake.url), apiKey, signal: AbortSignal.timeout(DEADLINE_MS) })
  }

  async function close(): Promise<void> {
    await typesense[Symbol.asyncDispose]()
    await fake.close()
  }

  async function plan(over: Partial<ReindexRequest> = {}): Promise<PlannedReindex[]> {
    const mappings: ReindexRequest['mappings'] = [['parts', mappingOf()]]
    const usual = { typesense, mappings, session, checkRows: true, full: false, settleMs: 0 }
    return await planReindex({ ...usual, ...over }, AbortSignal.timeout(DEADLINE_MS))
  }

  async function fill(name: string, documents: number): Promise<void> {
    const lines = Array.from({ length: documents }, (_, n) =>
      JSON.stringify({ id: `p${n + 1}`, name: `Part ${n + 1}` }),
    )
    await typesense.importDocuments(name, Buffer.from(lines.join('\n')), { lines: documents, action: 'create' })
  }

  async function call(method: string, path: string, body?: object): Promise<object> {
    const response = await fetch(`${fake.url}${path}`, {
      method,
      headers: { 'x-typesense-api-key': fake.apiKey },
      ...(body ? { body: JSON.stringify(body) } : {}),
      signal: AbortSignal.timeout(DEADLINE_MS),
    })
    const answer: unknown = await response.json()
    if (response.ok && typeof answer === 'object' && answer !== null) return answer
    throw new Error(`${method} ${path}: ${response.status}`)
  }

  const post = async (path: string, body: object): Promise<object> => await call('POST', path, body)
  return {
    get fake() {
      return fake
    },
    get typesense() {
      return typesense
    },
    session,
    plan,
    planned: async (over) => {
      const [first] = await plan(over)
      if (!first) throw new Error('nothing was planned')
      return first
    },
    findings: async (over) => {
      const thrown: unknown = await plan(over).catch((error: unknown) => error)
      if (thrown instanceof SyncError && thrown.code === 'search-not-ready') return thrown.details
      throw thrown instanceof Error ? thrown : new Error('there were no findings')
    },
    makeLive: async ({ alias = 'parts', state = 'complete', documents = 100, synonymSets = [] } = {}) => {
      const compiled = await compileMapping(session, 'parts', mappingOf())
      const name = generationName(alias, AT, JOB)
      const made = { alias, job: JOB, made_at: AT.toISOString(), mapping_sha256: compiled.sha256, state }
      await typesense.createCollection({
        name,
        schema: compiled.schema,
        metadata: writeGeneration(made),
        synonymSets,
      })
      await fill(name, documents)
      await typesense.putAlias('parts', name)
      return name
    },
    makePlain: async (name) => {
      await typesense.createCollection({ name, schema: { fields: [{ name: 'name', type: 'string' }] }, metadata: {} })
      await fill(name, 100)
    },
    limitedKey: async (actions, collections = ['*']) => {
      const always = ALL_BUT_METRICS.filter((action) => /^(debug|status|synonym|curation)/.test(action))
      const key = await post('/keys', {
        description: 'test',
        actions: [...new Set([...actions, ...always])],
        collections,
      })
      return await open(String(Reflect.get(key, 'value')))
    },
    open,
    restart: async (options) => {
      await close()
      fake = await startTypesense(options)
      typesense = await open(fake.apiKey)
    },
    post,
    put: async (path, body) => await call('PUT', path, body),
    remove: async (path) => await call('DELETE', path),
    close,
  }
}
