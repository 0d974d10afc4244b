import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { compareDocuments, prepareComparison } from '../src/reindex/compare-documents.ts'
import { openDocuments, type OpenDocuments } from '../src/reindex/open-documents.ts'
import { ALIAS, DEADLINE_MS, jobOf, openScene, type Scene } from './search/scene.ts'

let scene: Scene
beforeAll(async () => {
  scene = await openScene({
    sql: `
      create table public."Part" (id bigint, name text, price numeric(12, 2), stock int not null, extra jsonb);
      insert into public."Part" select n, 'part ' || n, n * 1.1, n % 7, '{"a": [1, 2.50]}' from generate_series(1, 300) n;
      create view public.parts_of_view as select * from public."Part";
      create table public.tree (id int, name text, stock int) partition by range (id);
      create table public.leaf partition of public.tree for values from (1) to (1000);`,
  })
})
afterAll(async () => await scene[Symbol.asyncDispose]())

async function open(over: Parameters<Scene['mapping']>[0] = {}, compares = false): Promise<OpenDocuments> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const prepare = async (session: OpenDocuments['session']) => expect(await prepareComparison(session)).toBeUndefined()
  const options = { purpose: 'documents', ...(compares ? { prepare } : {}) }
  return await openDocuments({ database: scene.url, signal }, ALIAS, scene.mapping(over), options)
}

const fields = [
  { name: 'name', type: 'string' as const, optional: true },
  { name: 'stock', type: 'int32' as const, optional: true },
]
const sources = [
  { what: 'a table', over: {}, locked: ['Part'] },
  { what: 'a table behind a view', over: { from: 'public.parts_of_view', fields }, locked: ['Part', 'parts_of_view'] },
  { what: 'a partitioned table and its leaves', over: { from: 'public.tree', fields }, locked: ['leaf', 'tree'] },
]

for (const { what, over, locked } of sources) {
  test(`Until the documents are let go, nobody can empty ${what}`, async () => {
    const documents = await open({ display_only: [], ...over })
    const found = await scene.client.query<{ name: string }>(
      `select c.relname as name from pg_locks l join pg_class c on c.oid = l.relation
       where l.pid = $1 and l.mode = 'AccessShareLock' and c.relnamespace = 'public'::regnamespace order by 1`,
      [documents.session.backendPid],
    )
    expect(found.rows.map(({ name }) => name)).toEqual(locked)
    await scene.client.query('set lock_timeout = 50')
    await expect(scene.client.query(`truncate public."${locked[0]}"`)).rejects.toMatchObject({ code: '55P03' })
    await scene.client.query('reset lock_timeout')
    await documents[Symbol.asyncDispose]()
  })
}

test('A table that only the owner of a view may read is locked with the view', async () => {
  const { client, database } = scene
  await client.query(`create role reader_of_parts login password 'reader'`)
  try {
    await client.query(`grant select on public.parts_of_view to reader_of_parts`)
    const url = new URL(database.url)
    url.username = 'reader_of_parts'
    url.password = 'reader'
    const as = { database: { ...scene.url, url: url.href }, signal: AbortSignal.timeout(DEADLINE_MS) }
    const mapping = scene.mapping({ from: 'public.parts_of_view', fields, display_only: [] })
    await using documents = await openDocuments(as, ALIAS, mapping, { purpose: 'documents' })
    expect(documents.documents).toBe(300)
    await client.query('set lock_timeout = 50')
    await expect(client.query('truncate public."Part"')).rejects.toMatchObject({ code: '55P03' })
  } finally {
    await client.query('reset lock_timeout; drop owned by reader_of_parts; drop role reader_of_parts')
  }
})

test('Tables that are swapped while the documents are being opened are read as they are after the swap', async () => {
  const { client } = scene
  await client.query(`
    begin;
    alter table public."Part" rename to "Part_old";
    create table public."Part" (like public."Part_old");
    insert into public."Part" select * from public."Part_old" where id <= 123`)
  const opening = open()
  await waitUntilBlocked()
  await client.query('commit')
  {
    await using documents = await opening
    expect(documents.documents).toBe(123)
    const [row] = await documents.session.query<{ rows: string }>(`select count(*) as rows from public."Part"`)
    expect(row?.rows).toBe('123')
  }
  await client.query(`drop table public."Part"; alter table public."Part_old" rename to "Part"`)
})

async function waitUntilBlocked(): Promise<void> {
  // Not the swap's own: a transaction goes on seeing the sessions that it has seen first.
  const watcher = await scene.database.client()
  const untilMs = performance.now() + 10_000
  for (;;) {
    const { rowCount } = await watcher.query(
      `select from pg_stat_activity where application_name = 'multiboard-sync documents' and wait_event_type = 'Lock'`,
    )
    if (rowCount === 1) return
    if (performance.now() > untilMs) throw new Error('The documents do not wait for the swap.')
    await sleep(5)
  }
}

test('A comparison of all documents finds nothing after a reindex, and then exactly what somebody has changed', async () => {
  await scene.reindex(jobOf(1))
  const { ask, client, fake, typesense } = scene
  const name = fake.aliases().get(ALIAS) ?? ''
  const compare = async () => {
    await using documents = await open({}, true)
    return await compareDocuments(documents, typesense, name, AbortSignal.timeout(DEADLINE_MS))
  }
  expect(await compare()).toEqual({ missing: 0, extra: 0, different: 0 })
  const lines = ['{"id":"5","name":"another"}', '{"id":"6","extra":{"a":[1]}}'].join('\n')
  await ask('POST', `/collections/${name}/documents/import?action=update`, lines)
  await ask('DELETE', `/collections/${name}/documents/7`)
  await client.query(`delete from public."Part" where id in (8, 9, 10)`)
  expect(await compare()).toEqual({ missing: 1, extra: 3, different: 2 })
})
