import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import pg from 'pg'
import { expect, inject, test } from 'vitest'
import { expectRefusal, type Expected } from './road/refusal.ts'
import { openWorld } from './road/world.ts'

/* What the plan finds in the two databases: everything at once, by name, before anything is written. */

const REFUSED = { outcome: 'refused', target_state: 'untouched' } as const
const sync = { kind: 'sync', source: 'production', target: 'staging' }
const mismatch: Expected = { ...REFUSED, code: 'schema-mismatch' }
const unsupported: Expected = { ...REFUSED, code: 'unsupported-object' }

test('rows that do not fit the target are refused with each difference, all at once', async () => {
  await using world = await openWorld({
    source: {
      sql: `
create type public.status as enum ('new', 'used', 'lost');
create domain public.grams as numeric check (value >= 0);
create domain public.kilograms as numeric;
create domain public.state as public.status;
create table public.same (id int primary key);
create table public.absent (id int primary key);
create table public.part (
  id int primary key, gone text, width integer, total int generated always as (id * 2) stored,
  status public.status, weight public.grams, heavy public.kilograms);
create table public.state_of (id int, state public.state[]);`,
    },
    target: {
      sql: `
create type public.status as enum ('new', 'used');
create domain public.grams as numeric check (value > 0);
create domain public.kilograms as numeric;
create domain public.state as public.status;
create table public.same (id int primary key);
create table public.part (
  id int primary key, width bigint, total int, wanted text not null, filled text not null default '',
  status public.status, weight public.grams, heavy public.kilograms);
create table public.state_of (id int, state public.state[]);`,
    },
  })
  const { details, message } = await expectRefusal(world, sync, mismatch)
  expect(new Set(details)).toEqual(
    new Set([
      'table public.absent is missing in the target',
      'column "gone" of public.part is missing in the target',
      'column "width" of public.part is integer in the source and bigint in the target',
      'column "total" of public.part is generated on one side only (source)',
      'column "wanted" of public.part exists in the target only, is not null and has no default',
      `type public.status differs: the target lacks 'lost'`,
      'domain public.grams differs',
    ]),
  )
  expect(message).toContain('7 differences')

  const types = { ...sync, tables: ['state_of'] }
  const behind = await expectRefusal(world, types, mismatch)
  expect(behind.details).toEqual([`type public.status differs: the target lacks 'lost'`])
  expect(behind.message).toContain('1 difference.')
})

test('a target that has none of the tables but something of their names is refused', async () => {
  await using world = await openWorld({
    source: { sql: 'create table public.part (id int); create table public.list (id int)' },
    target: { sql: 'create view public.part as select 1 as id; create sequence public.list' },
  })
  const { details } = await expectRefusal(world, sync, { ...REFUSED, code: 'target-not-empty' })
  expect(new Set(details)).toEqual(new Set(['sequence public.list', 'view public.part']))
  await expectRefusal(world, { ...sync, engine: 'truncate' }, { ...REFUSED, code: 'target-empty' })
})

test('a source is refused by name for what an archive does not carry, and let through without it', async () => {
  await using world = await openWorld({
    source: {
      sql: `
create extension file_fdw;
create server files foreign data wrapper file_fdw;
create foreign table public.outside (line text) server files options (filename '/nowhere');
create table public.part (id int primary key);
create table public.picture (id int primary key, image oid);
insert into public.picture select 1, lo_from_bytea(0, 'canary-row-1');`,
    },
  })
  const whole = await expectRefusal(world, { kind: 'export', source: 'production' }, unsupported)
  expect(whole.details).toEqual([
    expect.stringMatching(/^foreign-table public\.outside: /),
    expect.stringMatching(/^large-objects 1 large objects: /),
  ])
  const { details } = await expectRefusal(world, { ...sync, tables: ['picture'] }, unsupported)
  expect(details).toEqual([expect.stringMatching(/^large-objects /)])
  const without = await world.agent(['export', '--from', 'production', '--tables', 'part', '--json'])
  expect(without.json).toMatchObject({ outcome: 'succeeded', tables: 1 })
})

test('a target is refused by name for what forbids changing it', async () => {
  const sql = 'create table public.part (id int primary key)'
  await using world = await openWorld({ source: { sql }, target: { sql } })
  const client = await world.target.client()
  const subscription = `sub_${world.target.name}`
  await client.query('create publication everything for all tables')
  await client.query(
    `create subscription ${subscription} connection 'host=127.0.0.1 password=canary-pw-3' publication nothing
     with (connect = false, slot_name = none)`,
  )
  try {
    const { details } = await expectRefusal(world, sync, { ...unsupported, canaries: ['canary-pw-3'] })
    expect(details).toEqual([
      expect.stringMatching(/^publication everything: /),
      expect.stringMatching(new RegExp(`^subscription ${subscription}: `)),
    ])
  } finally {
    await client.query(`drop subscription ${subscription}`)
  }
})

test('row security that binds the owner is refused by name, in a source and in a target', async () => {
  const sql = `create table public.part (id int primary key); create table public.free (id int primary key)`
  await using world = await openWorld({ source: { sql }, target: { sql } })
  const role = `owner_${world.target.name}`
  for (const database of [world.source, world.target]) {
    const client = await database.client()
    await client.query(
      `do $$ begin create role ${role} login password 'canary-pw-4'; exception when duplicate_object then end $$`,
    )
    await client.query(`
      grant execute on function pg_control_system() to ${role};
      grant all on schema public to ${role};
      alter table public.part owner to ${role}; alter table public.free owner to ${role};
      alter table public.part enable row level security; alter table public.part force row level security;`)
  }
  const asOwner = (url: string): string => {
    const parts = new URL(url)
    parts.username = role
    parts.password = 'canary-pw-4'
    return parts.href
  }
  const source = { PRODUCTION_DATABASE_URL: asOwner(world.source.url) }
  const target = { STAGING_DATABASE_URL: asOwner(world.target.url) }
  const canaries = ['canary-pw-4']
  try {
    for (const env of [source, target]) {
      const { details } = await expectRefusal(world, sync, { ...unsupported, env, canaries })
      expect(details).toEqual([expect.stringMatching(/^forced-row-security public\.part: /)])
    }
  } finally {
    for (const database of [world.source, world.target]) {
      await (await database.client()).query(`drop owned by ${role}`)
    }
    await (await world.target.client()).query(`drop role ${role}`)
  }
})

test('another server is refused for a role that it lacks, and, as a standby, for being one', async () => {
  const role = `reader_${Date.now()}`
  await using made = new AsyncDisposableStack()
  const world = made.use(await openWorld({ source: { sql: 'create table public.part (id int)' } }))
  const folder = await mkdtemp(join(tmpdir(), 'standby-'))
  made.defer(async () => await rm(folder, { recursive: true, force: true }))
  await chmod(folder, 0o755)
  const dataDir = join(folder, 'data')
  const client = await world.source.client()
  await client.query(`create role ${role}; create policy mine on public.part for select to ${role}`)
  try {
    const server = made.use(await startPostgres({ dataDir, settings: { shared_buffers: '16MB' } }))
    const env = { STAGING_DATABASE_URL: server.url('postgres') }
    const { message } = await expectRefusal(world, sync, { ...REFUSED, code: 'role-missing', env })
    expect(message).toContain(role)
    await server.stop()
  } finally {
    await client.query(`drop policy mine on public.part; drop role ${role}`)
  }
  // Recovery that never ends: a standby whose primary is away.
  await writeFile(join(dataDir, 'standby.signal'), '')
  const standby = made.use(await startPostgres({ dataDir, settings: { shared_buffers: '16MB' } }))
  const env = { STAGING_DATABASE_URL: standby.url('postgres') }
  const { hint } = await expectRefusal(world, sync, { ...REFUSED, code: 'database-read-only', env })
  expect(hint).toContain('primary')
})

test(
  'an older target is refused, and so is one whose server lacks an extension',
  { timeout: 120_000 },
  async (context) => {
    const { major } = inject('postgres')
    if (major < 17) return context.skip('needs a newer server than 16 beside it')
    const older = await startPostgres({ major: 16, settings: { shared_buffers: '16MB' } }).catch((error: unknown) => {
      context.skip(`PostgreSQL 16 cannot be had: ${String(error)}`)
    })
    if (!older) return
    await using _older = older
    await using world = await openWorld({ source: { sql: 'create table public.part (id int)' } })
    const olderUrl = older.url('postgres')
    const target = { ...REFUSED, code: 'target-older', env: { STAGING_DATABASE_URL: olderUrl } }
    const { message } = await expectRefusal(world, sync, target)
    expect(message).toContain(`The target is PostgreSQL 16, the source ${major}.`)

    const client = new pg.Client(olderUrl)
    await client.connect()
    // Contrib of 16 that 17 does not bring any more.
    await client.query('create extension adminpack; create table public.part (id int)')
    await client.end()
    const env = { PRODUCTION_DATABASE_URL: olderUrl }
    const { details } = await expectRefusal(world, sync, { ...REFUSED, code: 'extension-missing', env })
    expect(details).toEqual([expect.stringContaining('extension adminpack')])
  },
)
