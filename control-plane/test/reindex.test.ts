import { afterAll, beforeAll, expect, test } from 'vitest'
import { policySchema } from '@multiboard-sync/shared/policy'
import type { SearchResult } from '@multiboard-sync/shared/search'
import { policyOf, startSurroundings, type Agent, type Surroundings } from './surroundings.ts'

/** The search as the control plane knows it: by names, never by a mapping. One surrounding, one test after the other. */

const reindex = { kind: 'reindex', source: 'staging' }
const sync = { kind: 'sync', source: 'production', target: 'staging' }
const SECRET = 'select secret_column'

let here: Surroundings
let agent: Agent

beforeAll(async () => {
  here = await startSurroundings()
  await here.registerAgent('older')
  const collections = { components: { database: 'staging', sql: SECRET, fields: [{ name: 'title', type: 'string' }] } }
  agent = await here.registerAgent('vps', policySchema.parse({ ...policyOf(), collections }))
})
afterAll(async () => await here[Symbol.asyncDispose]())

test('a reindex goes to the agent that has the collections, which an older one does not tell of', async () => {
  const job = await here.ask({ ...reindex, collections: ['components'], full: true })
  expect(job).toMatchObject({ agent: 'vps', params: { kind: 'reindex', collections: ['components'], full: true } })
  await here.person('POST', `/v1/jobs/${job.id}/cancel`)
  expect((await here.person('POST', '/v1/jobs', { ...reindex, agent: 'older' })).body.code).toBe('collection-unknown')
  expect((await here.person('POST', '/v1/jobs', { ...reindex, collections: ['x'] })).body.code).toBe(
    'collection-unknown',
  )
  expect((await here.person('POST', '/v1/jobs', { ...reindex, source: 'x' })).body.code).toBe('database-unknown')
})

test('what is stored of a policy holds no mapping, also when an agent sends one', async () => {
  const body = { ...agent.policy }
  await agent.call('/v1/agent/poll', {
    version: '1',
    boot_id: 'b',
    policy: body,
    policy_sha256: '0'.repeat(64),
    trusted_kids: [],
    databases: [],
    running: [],
  })
  const client = await here.database.client()
  const { rows } = await client.query<{ policy: unknown }>(`select policy from multiboard.agents where id = 'vps'`)
  expect(rows[0]?.policy).toMatchObject({ collections: { components: { database: 'staging' } } })
  expect(JSON.stringify(rows)).not.toContain(SECRET)
})

test('a reindex and a sync never work on one database at the same time; a preview disturbs nobody', async () => {
  const first = await here.ask(reindex)
  const second = await here.ask({ ...sync, agent: 'vps' })
  const preview = await here.ask({ ...reindex, dry_run: true })
  const order = await agent.begin()
  expect(order.job.id).toBe(first.id)
  const other = await agent.begin()
  expect(other.job.id, 'the sync waits').toBe(preview.id)
  expect(await agent.claim()).toBeUndefined()
  await agent.complete(other, { target_state: 'untouched' })
  const search: SearchResult = { state: 'fresh', collections: [] }
  await agent.complete(order, { target_state: 'untouched', search })
  expect(await here.job(first.id)).toMatchObject({ state: 'succeeded', result: { search } })
  expect((await here.person('POST', `/v1/jobs/${first.id}/undo`)).body.code).toBe('nothing-to-undo')
  const synced = await agent.begin()
  expect(synced.job.id).toBe(second.id)
  await agent.complete(synced, { search: { state: 'stale', collections: [] } })
  const [listed] = (await here.person('GET', '/v1/jobs?limit=3')).body.jobs.filter(({ id }) => id === second.id)
  expect(listed).toMatchObject({ state: 'succeeded', result: { search: { state: 'stale' } } })
})

test('while it reindexes, a reindex alone can be canceled and a sync cannot', async () => {
  const progress = {
    phase: 'reindexing',
    table: 'components',
    tables_done: 0,
    tables_total: 0,
    rows: 0,
    bytes: 0,
    bytes_total: 0,
    bytes_per_second: 0,
    elapsed_seconds: 1,
    documents: 5,
    documents_total: 10,
    waiting_for: 'Typesense',
  }
  for (const [body, status] of [
    [reindex, 200],
    [{ ...sync, agent: 'vps' }, 409],
  ] as const) {
    const { id } = await here.ask(body)
    const order = await agent.begin()
    await agent.report(order, [], { phase: 'reindexing', progress })
    expect((await here.job(id)).progress).toMatchObject({ documents: 5, documents_total: 10, waiting_for: 'Typesense' })
    expect((await here.person('POST', `/v1/jobs/${id}/cancel`)).status).toBe(status)
    await agent.complete(order, { outcome: status === 200 ? 'canceled' : 'succeeded' })
  }
})

test('a reindex that is lost has changed no database', async () => {
  const { id } = await here.ask(reindex)
  const order = await agent.begin()
  await agent.report(order, [], { phase: 'reindexing' })
  await here.letLapse(id)
  expect(await here.job(id)).toMatchObject({ state: 'lost', target_state: 'untouched' })
})
