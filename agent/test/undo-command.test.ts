import { policySchema, type Policy } from '@multiboard-sync/shared/policy'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { resolveUndo } from '../src/cli/resolve-undo.ts'
import { databaseUrls } from '../src/context.ts'
import { openSession } from '../src/postgres/session.ts'
import { takeFence, writeReceipt, type ReceiptFacts } from '../src/restore/receipt.ts'
import { asideOf, createAside } from '../src/restore/stage/aside.ts'
import { openControl } from './road/control.ts'
import { startDaemon } from './road/daemon.ts'
import { openWorld } from './road/world.ts'

/* Which job `pnpm agent undo` means when it names none; and that a dry run asked for over HTTP does nothing. */

const DEADLINE_MS = 20_000
const [CREATED, SYNCED, UNDO] = ['j000000000001', 'j000000000002', 'j000000000003']

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
})
afterAll(async () => await database[Symbol.asyncDispose]())

const policyOf = (...targets: string[]): Policy =>
  policySchema.parse({
    databases: {
      production: { role: 'source' },
      ...Object.fromEntries(targets.map((name) => [name, { role: 'target' }])),
    },
    routes: targets.map((to) => ({ from: 'production', to })),
  })

/** What is asked of the database, and only when the policy allows it. */
async function resolve(policy: Policy, words: { target?: string; job?: string } = {}) {
  const context = { policy, databaseUrl: databaseUrls(policy, () => database.url) }
  const { target, job } = words
  const command = { name: 'undo', target, job, reindex: true, dryRun: false, json: false } as const
  return await resolveUndo(context, command, AbortSignal.timeout(DEADLINE_MS))
}

async function writeJob(job: string, over: Partial<ReceiptFacts>, keepsPrevious = false): Promise<void> {
  const url = databaseUrls(policyOf('staging'), () => database.url)('staging')
  await using session = await openSession(url, { purpose: 'test', signal: AbortSignal.timeout(DEADLINE_MS) })
  await session.run('begin')
  const facts: ReceiptFacts = {
    job,
    epoch: 1,
    fence: undefined,
    target: 'staging',
    archive: '20261122T080312Z-production-k7f2',
    safetyBackup: undefined,
    engine: 'swap',
    tables: 1,
    names: [],
    rows: 1,
    ...over,
  }
  await writeReceipt(session, { ...facts, fence: await takeFence(session, facts) })
  if (keepsPrevious) await createAside(session, asideOf('previous', job, ['public']))
  await session.run('commit')
}

test('the only target and its last job are meant, and no older job is undone in place of the last', async () => {
  const policy = policyOf('staging')
  await expect(resolve(policy)).rejects.toMatchObject({
    code: 'nothing-to-undo',
    message: expect.stringMatching(/No job/),
  })

  await writeJob(CREATED, { engine: 'create' })
  const refusal = { code: 'nothing-to-undo', hint: 'Restore an archive instead.' }
  await expect(resolve(policy)).rejects.toMatchObject(refusal)

  await writeJob(SYNCED, { safetyBackup: '20261122T080312Z-staging-k7f2' })
  expect(await resolve(policy)).toEqual({ kind: 'undo', target: 'staging', job: SYNCED })
  // An undo has no safety backup of its own: what it put away is kept beside.
  await writeJob(UNDO, {}, true)
  expect(await resolve(policy, { target: 'staging' })).toEqual({ kind: 'undo', target: 'staging', job: UNDO })
  expect(await resolve(policy, { job: SYNCED }), 'a job that is named').toMatchObject({ job: SYNCED })

  await writeJob('j000000000004', { engine: 'create' })
  await expect(resolve(policy)).rejects.toMatchObject({ code: 'nothing-to-undo', hint: expect.stringContaining(UNDO) })
})

test('a target is named where the policy has several or none, and a denied one is never asked', async () => {
  const two = policyOf('staging', 'other')
  await expect(resolve(two)).rejects.toMatchObject({ code: 'usage', hint: 'Name one: --to staging, --to other.' })
  await expect(resolve(policyOf())).rejects.toMatchObject({ code: 'usage' })
  await expect(resolve(two, { target: 'production' })).rejects.toMatchObject({ code: 'policy-denied' })
  await expect(resolve(two, { target: 'elsewhere' })).rejects.toMatchObject({ code: 'database-unknown' })
})

test('a dry run asked for over HTTP ends with its plan: nothing is archived, nothing written', async () => {
  await using world = await openWorld({
    source: { sql: 'create table t (id int primary key); insert into t values (7)' },
  })
  await using control = await openControl(world)
  const daemon = await startDaemon({ ...world.env, ...control.env })
  await using stack = new AsyncDisposableStack()
  stack.defer(async () => await daemon.kill())
  const sync = await control.ask({ kind: 'sync', source: 'production', target: 'staging', dry_run: true })
  const { target_state, result } = await control.waitFor(sync.id, 'succeeded')
  expect(target_state).toBe('untouched')
  expect(result?.plan).toMatchObject({ kind: 'sync', engine: 'create', tables: [{ name: 'public.t' }], table_count: 1 })
  const exported = await control.ask({ kind: 'export', source: 'production', dry_run: true })
  expect((await control.waitFor(exported.id, 'succeeded')).result?.plan).toMatchObject({ kind: 'export' })

  const client = await world.target.client()
  const { rows } = await client.query(
    `select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'public' or n.nspname like 'multiboard%'`,
  )
  expect(rows).toEqual([])
  expect(await world.store.keys(world.bucket)).toEqual([])
})
