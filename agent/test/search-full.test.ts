import { SyncError } from '@multiboard-sync/shared/sync-error'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ObjectStore } from '../src/archive/object-store.ts'
import { readGeneration } from '../src/reindex/generation.ts'
import type { ReindexRun } from '../src/reindex/reindex-run.ts'
import type { Typesense } from '../src/typesense/typesense.ts'
import { ALIAS, failureOf, jobOf, openScene, type Scene } from './search/scene.ts'

let scene: Scene
let live: string
beforeAll(async () => {
  scene = await openScene()
  await scene.reindex(jobOf(1))
  live = scene.fake.aliases().get(ALIAS) ?? ''
})
afterAll(async () => await scene[Symbol.asyncDispose]())

test('The first reindex puts a proven generation of all documents behind the alias', async () => {
  await using first = await openScene()
  const result = await first.reindex(jobOf(1))
  const { fake, steps, told } = first
  const name = fake.aliases().get(ALIAS) ?? ''
  expect(result).toMatchObject({ state: 'fresh', mode: 'full', collection: name, documents: 300, compared: 20 })
  expect(name).toMatch(/^parts__\d{8}T\d{6}Z_j000000000001$/)
  expect(readGeneration({ name, metadata: fake.metadata(name) ?? {} })).toMatchObject({
    alias: ALIAS,
    job: jobOf(1),
    state: 'complete',
    documents_checksum: expect.stringMatching(/^-?\d+$/),
  })
  expect(steps).toEqual([{ job: jobOf(1), step: 'generation-made', data: { alias: ALIAS, collection: name } }])
  expect(told).toEqual([{ type: 'search.alias-set', data: { alias: ALIAS, collection: name } }])
  await first.expectFresh()
})

test('What was live is kept for undo, marked with the job, until the reindex after next', async () => {
  await using kept = await openScene()
  const names: string[] = []
  for (const number of [1, 2, 3]) names.push((await kept.reindex(jobOf(number))).collection ?? '')
  const [first, second, third] = names
  expect(kept.fake.collections()).toEqual([second, third])
  expect(kept.fake.aliases().get(ALIAS)).toBe(third)
  const metadata = kept.fake.metadata(second ?? '') ?? {}
  expect(readGeneration({ name: second ?? '', metadata })).toMatchObject({ replaced_by: jobOf(3), state: 'complete' })
  expect(kept.told.at(-1)).toEqual({ type: 'search.cleaned', data: { alias: ALIAS, collections: [first] } })
})

test('Searches through the alias find the whole old or the whole new index at any moment of a reindex', async () => {
  await using busy = await openScene()
  await busy.reindex(jobOf(1))
  await busy.client.query(`insert into public."Part" select n, 'part ' || n, 1, 1 from generate_series(301, 350) n`)
  const found = new Set<unknown>()
  const end = new AbortController()
  const reader = async () => {
    while (!end.signal.aborted) {
      const { status, body } = await busy.ask('GET', `/collections/${ALIAS}/documents/search?q=*`)
      found.add(status === 200 && typeof body === 'object' && body !== null && 'found' in body ? body.found : status)
    }
  }
  const readers = Promise.all([reader(), reader()])
  await busy.reindex(jobOf(2))
  end.abort()
  await readers
  expect(found).toEqual(new Set([300, 350]))
})

interface Refusal {
  name: string
  code: string
  says: string | RegExp
  mapping?: Parameters<Scene['mapping']>[0]
  server?: (real: Typesense) => Partial<Typesense>
  over?: Partial<ReindexRun>
  /** Left behind until the job is settled: nobody knows whether the alias points to it. */
  leaves?: true
  /** What somebody else has done. */
  restores?: () => Promise<void>
}

const cancel = new AbortController()
const building = () => scene.fake.collections().find((name) => name !== live) ?? ''
/** Right after the import of all documents. */
const afterImport =
  (work: () => Promise<unknown>) =>
  (real: Typesense): Partial<Typesense> => ({
    importDocuments: async (...sent) => {
      const refused = await real.importDocuments(...sent)
      await work()
      return refused
    },
  })
const sql = (text: string) => ({ from: undefined, sql: text, depends_on: ['public."Part"'] })
const columns = 'p.id, p.stock, p.price, p.extra'

const refusals: Refusal[] = [
  {
    name: 'documents that are fewer by more than the limit',
    code: 'search-shrunk',
    says: 'The rows make 200 documents where 300 are live',
    mapping: sql('select * from public."Part" where id <= 200'),
  },
  {
    name: 'fewer documents than the least number',
    code: 'search-shrunk',
    says: 'verify.min_count is 301',
    mapping: { verify: { min_count: 301 } },
  },
  {
    name: 'two rows of the same id',
    code: 'documents-rejected',
    says: '1 documents of "parts"',
    mapping: sql('select * from public."Part" union all select * from public."Part" where id = 17'),
  },
  {
    name: 'a row that cannot be a document',
    code: 'documents-rejected',
    says: '2 documents of "parts"',
    mapping: sql(`select ${columns}, case when p.id not in (7, 9) then p.name end as name from public."Part" p`),
  },
  {
    name: 'a query that answers other rows each time',
    code: 'search-proof-failed',
    // As many by chance, one time in thirty: then it is the sample that differs.
    says: /The mapping answers other rows each time it is asked|are not what their rows say/,
    mapping: { ...sql('select * from public."Part" where random() < 0.5'), verify: { max_shrink_pct: 100 } },
  },
  {
    name: 'G4: a document too many in the new collection',
    code: 'search-proof-failed',
    says: 'holds 301 documents, and there are 300 rows',
    server: afterImport(
      async () =>
        await scene.ask('POST', `/collections/${building()}/documents/import`, '{"id":"x","name":"x","stock":1}'),
    ),
  },
  {
    name: 'G4: a document that is not what its row says',
    code: 'search-proof-failed',
    says: /Of \d+ documents read back from parts__\S+, 1 are not what their rows say; 0 are missing/,
    mapping: { verify: { sample: 300 } },
    server: afterImport(
      async () =>
        await scene.ask(
          'POST',
          `/collections/${building()}/documents/import?action=update`,
          '{"id":"17","name":"another"}',
        ),
    ),
  },
  {
    name: 'G4: documents that are there and are not found',
    code: 'search-proof-failed',
    says: 'finds 299 of 300 documents',
    server: (real) => ({
      searchAll: async (name) => (await real.searchAll(name)) - 1,
    }),
  },
  {
    name: 'a collection that vanishes while it is filled',
    code: 'search-changed',
    says: 'was dropped while it was being proven',
    server: afterImport(async () => await scene.ask('DELETE', `/collections/${building()}`)),
  },
  {
    name: 'a lost lease',
    code: 'lease-lost',
    says: 'The lease is gone.',
    over: {
      lease: {
        remainingMs: () => 0,
        waitUntilValid: async () => {
          throw new SyncError('lease-lost', 'The lease is gone.')
        },
      },
    },
  },
  {
    name: 'a database connection that breaks',
    code: 'connection-lost',
    says: 'working in the database staging',
    server: afterImport(
      async () =>
        await scene.client.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
           where application_name = 'multiboard-sync reindex parts' and datname = current_database()`,
        ),
    ),
  },
  {
    name: 'a search server without room',
    code: 'search-full',
    says: 'no disk space left',
    server: (real) => ({
      importDocuments: async (...sent) => {
        scene.fake.faults.full('OUT_OF_DISK')
        return await real.importDocuments(...sent)
      },
    }),
  },
  {
    name: 'a key that loses its rights',
    code: 'search-auth',
    says: 'key',
    server: (real) => ({
      importDocuments: async (...sent) => {
        scene.fake.faults.forbid({ on: 'imports' })
        return await real.importDocuments(...sent)
      },
    }),
  },
  {
    name: 'a cancel',
    code: 'canceled',
    says: 'Somebody has changed his mind.',
    server: afterImport(async () => cancel.abort(new SyncError('canceled', 'Somebody has changed his mind.'))),
    over: { signal: cancel.signal },
  },
  {
    name: 'an alias that somebody else moves',
    code: 'search-changed',
    says: 'Searches for parts reached parts__',
    server: afterImport(async () => await scene.ask('PUT', `/aliases/${ALIAS}`, { collection_name: building() })),
    restores: async () => await scene.typesense.putAlias(ALIAS, live),
    leaves: true,
  },
  {
    name: 'synonyms that are linked anew',
    code: 'search-changed',
    says: 'were linked anew in the meantime',
    server: afterImport(async () => {
      await scene.ask('PUT', '/synonym_sets/words', { items: [{ id: 'a', synonyms: ['part', 'component'] }] })
      await scene.ask('PATCH', `/collections/${live}`, { synonym_sets: ['words'] })
    }),
  },
  {
    name: 'an alias that cannot be set',
    code: 'search-failed',
    says: 'PUT /aliases/parts',
    leaves: true,
    server: (real) => ({
      putAlias: async (...target) => {
        scene.fake.faults.answer(500, { message: 'Could not.' }, { on: ({ method }) => method === 'PUT' })
        await real.putAlias(...target)
      },
    }),
  },
]

for (const [index, { name, code, says, mapping = {}, server, over, leaves, restores }] of refusals.entries()) {
  test(`The live index stays what it is at ${name}`, async () => {
    const { fake } = scene
    const job = jobOf(100 + index)
    const before = fake.documents(live)
    const typesense = server ? { typesense: scene.server(server) } : {}
    const failure = await failureOf(scene.reindex(job, { mapping, over: { ...typesense, ...over } }))
    fake.faults.clear()
    expect(failure).toMatchObject({ code })
    expect(`${failure.message} ${failure.hint}`).toMatch(says)
    await restores?.()
    expect(fake.collections()).toHaveLength(leaves ? 2 : 1)
    if (leaves) await scene.settle(job)
    expect(fake.aliases().get(ALIAS)).toBe(live)
    expect(fake.collections()).toEqual([live])
    expect(fake.documents(live)).toEqual(before)
  })
}

test('Ids of refused documents go into the bucket, and only counts leave the agent', async () => {
  const mapping = sql(`select ${columns}, case when p.id not in (7, 9) then p.name end as name from public."Part" p`)
  const failure = await failureOf(scene.reindex(jobOf(200), { mapping }))
  const key = `team/search/${jobOf(200)}/parts.jsonl`
  expect(failure.hint).toContain(`Their ids are in the bucket, in ${key}.`)
  expect(failure.details).toEqual([
    '2 x Field `name` has been declared in the schema, but is not found in the document. (400)',
  ])
  const lines = (scene.bucket.get(key) ?? '').trimEnd().split('\n')
  expect(lines.map((line) => JSON.parse(line))).toEqual([
    expect.objectContaining({ id: '7', code: 400 }),
    expect.objectContaining({ id: '9', code: 400 }),
  ])
})

test('A bucket that is away does not hide that documents were refused', async () => {
  const store: Pick<ObjectStore, 'putText'> = {
    putText: async () => {
      throw new SyncError('storage-unreachable', 'No route.', { retryable: true })
    },
  }
  const mapping = sql('select * from public."Part" union all select * from public."Part" where id = 17')
  const work = scene.reindex(jobOf(201), { mapping, over: { store: store as ObjectStore } })
  const failure = await failureOf(work)
  expect(failure).toMatchObject({ code: 'documents-rejected', details: [expect.stringMatching(/^1 x .*\(409\)$/)] })
  expect(failure.hint).toContain('could not be written to the bucket (storage-unreachable)')
  expect(scene.fake.collections()).toEqual([live])
})

test('A search server that is busy for a moment is waited for, and that is told once', async () => {
  const { fake, told } = scene
  told.length = 0
  fake.faults.busy({ times: 1 })
  fake.faults.busy({ on: 'imports', times: 1 })
  const result = await scene.reindex(jobOf(202), { over: { giveUpAfterMs: 20_000 } })
  expect(result.state).toBe('fresh')
  expect(told.filter(({ type }) => type === 'search.waiting').map(({ data }) => data)).toEqual([
    { alias: ALIAS, seconds: 0, code: 'search-unreachable' },
    { alias: ALIAS, seconds: 0, code: 'search-unreachable' },
  ])
  await scene.expectFresh()
})
