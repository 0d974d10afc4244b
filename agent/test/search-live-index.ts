import { mappingSchema, type Mapping } from '@multiboard-sync/shared/mapping'
import { createDatabase, templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { startTypesense, type FakeTypesense } from '@multiboard-sync/shared/testing/typesense'
import type pg from 'pg'
import { expect } from 'vitest'
import { generationName, readGeneration, writeGeneration } from '../src/reindex/generation.ts'
import { reindexIncrementally } from '../src/reindex/incremental/reindex-incrementally.ts'
import type { PreviousTables } from '../src/reindex/incremental/work.ts'
import { openDocuments, type OpenDocuments } from '../src/reindex/open-documents.ts'
import type { PlannedReindex } from '../src/reindex/planned-reindex.ts'
import type { ReindexRun } from '../src/reindex/reindex-run.ts'
import { sameDocument } from '../src/reindex/same-document.ts'
import { unlimitedLease } from '../src/report/lease.ts'
import { openTypesense } from '../src/typesense/open-typesense.ts'
import type { Typesense } from '../src/typesense/typesense.ts'

/*
 * For tests of what happens to a live index: a database of parts, a fake search server, generations that are made here by
 * hand, and what was sent.
 */

export const ALIAS = 'parts'

export const partsSql = `
  create table public."Category" (id int primary key, name text not null);
  insert into public."Category" select n, 'category ' || n from generate_series(1, 20) n;
  create table public."Part" (
    id text primary key, name text not null, price float8, stock bigint not null, tags text[] not null default '{}',
    "categoryId" int);
  insert into public."Part"
  select 'p' || n, 'part ' || n, case when n % 3 > 0 then n * 1.1 end, n * 1000000000000, array['t' || n % 4], 1 + n % 20
  from generate_series(1, 200) n;`

export const fields = [
  { name: 'name', type: 'string' },
  { name: 'price', type: 'float', optional: true, approximate: true },
  { name: 'stock', type: 'int64' },
  { name: 'tags', type: 'string[]' },
] as const

/** Joined, so that a category's name is in many documents. */
export const partsMapping = mappingSchema.parse({
  sql: `select p.*, c.name as category from public."Part" p left join public."Category" c on c.id = p."categoryId"`,
  depends_on: ['public."Part"', 'public."Category"'],
  fields: [...fields, { name: 'category', type: 'string', optional: true }],
})

async function partsTemplate(): Promise<string> {
  return await templateDatabase(partsSql, async (database) => void (await (await database.client()).query(partsSql)))
}

export interface Sent {
  upserts: string[]
  deletes: string[]
}

export interface Index extends AsyncDisposable {
  fake: FakeTypesense
  database: TestDatabase
  client: pg.Client
  typesense: Typesense
  /** Ids, of every import and delete that went out, also of those that failed. */
  sent: Sent
  told: { type: string; data: Record<string, unknown> }[]
  mapping: Mapping
  run: (job: string) => ReindexRun
  /** Makes a proven generation of what the rows are now and points the alias to it. Answers its name. */
  make: (job: string, over?: Record<string, unknown>) => Promise<string>
  plan: () => Promise<PlannedReindex>
  /** The documents of the rows, by id. */
  rows: () => Promise<Map<string, string>>
  isEqual: () => Promise<void>
}

export async function openIndex(
  options: { mapping?: Mapping; database?: TestDatabase; version?: string } = {},
): Promise<Index> {
  const { mapping = partsMapping, version } = options
  const stack = new AsyncDisposableStack()
  const database = options.database ?? stack.use(await createDatabase({ template: await partsTemplate() }))
  const fake = stack.use(await startTypesense(version === undefined ? {} : { version }))
  const url = { name: 'staging', url: database.url, viaProxy: false }
  const signal = AbortSignal.timeout(100_000)
  const real = stack.use(await openTypesense({ url: new URL(fake.url), apiKey: fake.apiKey, signal }))
  const sent: Sent = { upserts: [], deletes: [] }
  const typesense: Typesense = {
    ...real,
    importDocuments: async (name, body, how) => {
      sent.upserts.push(...idsOf(body.toString()))
      return await real.importDocuments(name, body, how)
    },
    deleteDocuments: async (name, ids) => {
      sent.deletes.push(...ids)
      return await real.deleteDocuments(name, ids)
    },
  }
  const told: Index['told'] = []
  const run = (job: string): ReindexRun => ({
    job,
    typesense,
    database: url,
    store: new Proxy({} as ReindexRun['store'], { get: (_, name) => fail(`the bucket was asked for ${String(name)}`) }),
    prefix: '',
    reporter: {
      phase: () => undefined,
      event: (type, data = {}) => void told.push({ type, data }),
      progress: () => undefined,
    },
    lease: unlimitedLease,
    journal: { record: async () => undefined, [Symbol.asyncDispose]: async () => undefined },
    signal,
  })
  const open = async () => await openDocuments({ database: url, signal }, ALIAS, mapping, { purpose: 'test' })
  const rowsIn = async (documents: OpenDocuments): Promise<Map<string, string>> => {
    const found = await documents.session.query<{ id: string; document: string }>(documents.compiled.documentsSql)
    return new Map(found.map(({ id, document }) => [id, document]))
  }
  const rows = async () => {
    await using documents = await open()
    return await rowsIn(documents)
  }
  let made = 0
  const index: Index = {
    fake,
    database,
    client: await database.client(),
    typesense,
    sent,
    told,
    mapping,
    run,
    rows,
    make: async (job, over = {}) => {
      await using documents = await open()
      made += 1
      const at = new Date(Date.UTC(2026, 0, 1, 0, 0, made))
      const name = generationName(ALIAS, at, job)
      const metadata = writeGeneration({
        alias: ALIAS,
        job,
        made_at: at.toISOString(),
        mapping_sha256: documents.compiled.sha256,
        state: 'complete',
        documents_checksum: documents.checksum,
        ...over,
      })
      await real.createCollection({ name, schema: documents.compiled.schema, metadata })
      const texts = [...(await rowsIn(documents)).values()]
      const body = Buffer.from(texts.map((text) => `${text}\n`).join(''))
      if (texts.length > 0) await real.importDocuments(name, body, { lines: texts.length, action: 'create' })
      await real.putAlias(ALIAS, name)
      return name
    },
    plan: async () => {
      await using documents = await open()
      const name = fake.aliases().get(ALIAS)
      const live = name === undefined ? undefined : await real.findCollection(name)
      const generation = live && readGeneration(live)
      const { compiled, documents: count } = documents
      return { alias: ALIAS, compiled, live, generation, mode: 'incremental', reason: '', rows: count, notices: [] }
    },
    isEqual: async () => {
      const expected = await rows()
      const stored = new Map(fake.documents(fake.aliases().get(ALIAS) ?? '').map((text) => [idOf(text), text]))
      expect([...stored.keys()].toSorted()).toEqual([...expected.keys()].toSorted())
      expect([...expected].filter(([id, text]) => !sameDocument(text, stored.get(id) ?? '{}'))).toEqual([])
    },
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  }
  return index
}

function fail(message: string): never {
  throw new Error(message)
}

function idsOf(lines: string): string[] {
  return lines.split('\n').filter(Boolean).map(idOf)
}

export function idOf(document: string): string {
  const { id }: { id: string } = JSON.parse(document)
  return id
}

/**
 * What a swap leaves: the tables as they were in the schema of the previous ones, and the same rows in new tables of the same
 * names, to be changed.
 */
export async function swapByHand({ client }: Index, job: string, tables: string[]) {
  const schema = `multiboard_sync_prev_${job}_1`
  await client.query(`create schema ${schema}`)
  for (const table of tables) {
    await client.query(`alter table public."${table}" set schema ${schema};
      create table public."${table}" (like ${schema}."${table}" including all);
      insert into public."${table}" select * from ${schema}."${table}"`)
  }
  return {
    schemas: new Map([['public', schema]]),
    tables: tables.map((name) => ({ schema: 'public', name })),
  }
}

/** Changes documents of the live collection behind our back. */
export async function tamper({ fake }: Index, lines: string[], deleted: string[] = []): Promise<void> {
  const name = fake.aliases().get(ALIAS) ?? ''
  const headers = { 'x-typesense-api-key': fake.apiKey }
  const base = `${fake.url}/collections/${name}/documents`
  if (lines.length > 0) {
    const answer = await fetch(`${base}/import?action=upsert`, { method: 'POST', headers, body: lines.join('\n') })
    expect(await answer.text()).not.toContain('"success":false')
  }
  for (const id of deleted) await fetch(`${base}/${encodeURIComponent(id)}`, { method: 'DELETE', headers })
  fake.requests.length = 0
}

export const [j0, j1, j2, j3] = ['j000000000000', 'j000000000001', 'j000000000002', 'j000000000003']

export const incremental = async (index: Index, previous?: PreviousTables, job = j1) =>
  await reindexIncrementally(index.run(job), await index.plan(), previous ? { previous } : {})

export const writes = ({ fake }: Index) => fake.requests.filter(({ method }) => method !== 'GET')
/** What was asked for and sent so far. */
export const forget = (index: Index) => {
  index.fake.requests.length = 0
  index.sent.upserts.length = 0
  index.sent.deletes.length = 0
}

export const planted = `
  update public."Part" set stock = stock + 1 where id in ('p1', 'p2');
  update public."Part" set price = null where id = 'p4';
  insert into public."Part" values ('new', 'a new part', 0.1, 9007199254740993, '{}', null);
  delete from public."Part" where id in ('p10', 'p11')`
export const oneChange = `update public."Part" set name = 'another name' where id = 'p7'`

export const fromPrevious = 'compared with the tables that were replaced'
export const fromIndex = 'compared with all documents of the index'
