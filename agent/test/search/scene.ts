import { mappingSchema, type Mapping } from '@multiboard-sync/shared/mapping'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { startTypesense, type FakeTypesense } from '@multiboard-sync/shared/testing/typesense'
import type pg from 'pg'
import { expect } from 'vitest'
import type { z } from 'zod'
import type { ObjectStore } from '../../src/archive/object-store.ts'
import { reindexFull } from '../../src/reindex/full/reindex-full.ts'
import { settleGenerations } from '../../src/reindex/full/settle-generations.ts'
import { readGeneration } from '../../src/reindex/generation.ts'
import { compileMapping } from '../../src/reindex/mapping/compile-mapping.ts'
import type { PlannedReindex } from '../../src/reindex/planned-reindex.ts'
import type { ReindexRun } from '../../src/reindex/reindex-run.ts'
import { sameDocument } from '../../src/reindex/same-document.ts'
import { unlimitedLease } from '../../src/report/lease.ts'
import { openSession, type DatabaseUrl } from '../../src/postgres/session.ts'
import { openTypesense } from '../../src/typesense/open-typesense.ts'
import type { Typesense } from '../../src/typesense/typesense.ts'

/** For tests of full reindexes: parts in a database, a fake search server, and everything that a run has said and written. */

export const ALIAS = 'parts'
export const DEADLINE_MS = 50_000

const partsSql = `
  create table public."Part" (id bigint, name text, price numeric(12, 2), stock int not null, extra jsonb);
  insert into public."Part"
  select n, 'part ' || n, n * 1.1, n % 7, jsonb_build_object('n', n, 'list', array[n, n + 1])
  from generate_series(1, 300) n;`

type MappingInput = z.input<typeof mappingSchema>

/** Without a constraint in the database: what is wrong with an id shows itself at the search server. */
const partsMapping: MappingInput = {
  from: 'public."Part"',
  fields: [
    { name: 'name', type: 'string' },
    { name: 'stock', type: 'int32' },
    { name: 'price', type: 'float', optional: true, approximate: true },
  ],
  display_only: ['extra'],
  verify: { sample: 20 },
}

export function jobOf(number: number): string {
  return `j${String(number).padStart(12, '0')}`
}

export interface Told {
  type: string
  data: Record<string, unknown>
}
interface Step {
  step: string
  data: Record<string, string>
}

export interface Scene extends AsyncDisposable {
  fake: FakeTypesense
  database: TestDatabase
  url: DatabaseUrl
  client: pg.Client
  typesense: Typesense
  told: Told[]
  /** Of all runs. */
  steps: (Step & { job: string })[]
  /** Texts put into the bucket, by key. */
  bucket: Map<string, string>
  mapping: (over?: Partial<MappingInput>) => Mapping
  run: (job: string, over?: Partial<ReindexRun>) => ReindexRun
  /** The search server, but for what is overridden. */
  server: (override: (real: Typesense) => Partial<Typesense>) => Typesense
  plan: (over?: Partial<MappingInput>) => Promise<PlannedReindex>
  reindex: (
    job: string,
    options?: { over?: Partial<ReindexRun>; mapping?: Partial<MappingInput> },
  ) => ReturnType<typeof reindexFull>
  reindexPlanned: (job: string, planned: PlannedReindex, over?: Partial<ReindexRun>) => ReturnType<typeof reindexFull>
  settle: (job: string) => ReturnType<typeof settleGenerations>
  /** The documents behind the alias or of a collection equal what the rows make now. */
  expectFresh: (name?: string) => Promise<void>
  /** A request as an application makes it. */
  ask: (method: string, path: string, body?: unknown) => Promise<{ status: number; body: unknown }>
}

export async function openScene(options: { sql?: string; version?: string; deadlineMs?: number } = {}): Promise<Scene> {
  const { sql = partsSql, version, deadlineMs = DEADLINE_MS * 2 } = options
  const stack = new AsyncDisposableStack()
  const database = stack.use(await createDatabase({ sql }))
  const fake = stack.use(await startTypesense(version === undefined ? {} : { version }))
  const url: DatabaseUrl = { name: 'staging', url: database.url, viaProxy: false }
  const signal = AbortSignal.timeout(deadlineMs)
  const typesense = stack.use(await openTypesense({ url: new URL(fake.url), apiKey: fake.apiKey, signal }))
  const client = await database.client()
  const told: Told[] = []
  const steps: Scene['steps'] = []
  const bucket = new Map<string, string>()
  const store: Pick<ObjectStore, 'putText'> = {
    putText: async (key, text) => void bucket.set(key, text.toString()),
  }
  const mapping: Scene['mapping'] = (over = {}) => mappingSchema.parse({ ...partsMapping, ...over })
  const run: Scene['run'] = (job, over = {}) => ({
    job,
    typesense,
    database: url,
    store: store as ObjectStore,
    prefix: 'team',
    reporter: {
      phase: () => undefined,
      event: (type, data = {}) => void told.push({ type, data }),
      progress: () => undefined,
    },
    lease: unlimitedLease,
    journal: {
      record: async (step, data) => void steps.push({ job, step, data: data as Record<string, string> }),
      [Symbol.asyncDispose]: async () => undefined,
    },
    signal,
    giveUpAfterMs: 0,
    ...over,
  })
  const plan: Scene['plan'] = async (over) => {
    await using session = await openSession(url, { purpose: 'test', signal, readOnly: true })
    const compiled = await compileMapping(session, ALIAS, mapping(over))
    const name = fake.aliases().get(ALIAS) ?? ALIAS
    const live = await typesense.findCollection(name)
    const generation = live && readGeneration(live)
    return { alias: ALIAS, compiled, live, generation, mode: 'full', reason: 'asked for', rows: undefined, notices: [] }
  }
  const rows = async (): Promise<Map<string, string>> => {
    await using session = await openSession(url, { purpose: 'test', signal, readOnly: true })
    const { documentsSql } = await compileMapping(session, ALIAS, mapping())
    const found = await session.query<{ id: string; document: string }>(documentsSql)
    return new Map(found.map(({ id, document }) => [id, document]))
  }
  return {
    fake,
    database,
    url,
    client,
    typesense,
    told,
    steps,
    bucket,
    mapping,
    run,
    server: (override) => ({ ...typesense, ...override(typesense) }),
    plan,
    reindex: async (job, { over, mapping: mapped } = {}) =>
      await reindexFull(run(job, over), await plan(mapped), 'asked for'),
    reindexPlanned: async (job, planned, over) => await reindexFull(run(job, over), planned, 'asked for'),
    settle: async (job) => {
      const of = (name: string) => steps.filter((one) => one.job === job && one.step === name).map(({ data }) => data)
      const made = of('generation-made') as { alias: string; collection: string }[]
      const adopting = of('adopting') as { alias: string; collection: string; plain: string }[]
      return await settleGenerations(typesense, job, made, adopting)
    },
    expectFresh: async (name = fake.aliases().get(ALIAS) ?? '') => {
      const expected = await rows()
      const stored = new Map(fake.documents(name).map((text) => [idOf(text), text]))
      expect(stored.size).toBe(expected.size)
      expect([...expected].filter(([id, text]) => !sameDocument(text, stored.get(id) ?? '{}'))).toEqual([])
    },
    ask: async (method, path, body) => {
      const headers = { 'x-typesense-api-key': fake.apiKey }
      const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
      const answer = await fetch(`${fake.url}${path}`, { method, headers, ...sent })
      const text = await answer.text()
      return { status: answer.status, body: text.startsWith('{"success"') ? text : JSON.parse(text) }
    },
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  }
}

function idOf(document: string): string {
  const { id }: { id: string } = JSON.parse(document)
  return id
}

/** What was thrown, as an operator is told of it. */
export async function failureOf(work: Promise<unknown>): Promise<SyncError> {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(thrown instanceof SyncError))
    throw new Error('nothing that an operator is told of was thrown', { cause: thrown })
  return thrown
}
