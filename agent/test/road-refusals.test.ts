import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { freePort } from '@multiboard-sync/shared/testing/postgres/free-port'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectRefusal } from './road/refusal.ts'
import { openWorld, type World } from './road/world.ts'

/*
 * Bad input, case by case: a clear error with code and hint, nothing changed, nothing leaked. No case changes anything,
 * so all of them share one world.
 */

const SQL = `
create table public."Component" (id int primary key, name text not null);
create table public."File" (id int primary key, component_id int references public."Component");
insert into public."Component" select n, 'canary-row-' || n from generate_series(1, 50) n;
insert into public."File" select n, n from generate_series(1, 50) n;`

const POLICY = `
databases:
  production: { role: source, protected: true }
  staging: { role: both }
  same: { role: target }
  reader: { role: source }
routes:
  - { from: production, to: staging, tables: { exclude: [File] } }
  - { from: production, to: same }
`

let world: World

beforeAll(async () => {
  world = await openWorld({ source: { sql: SQL }, target: { sql: SQL } })
  await world.writePolicy(POLICY)
})
afterAll(async () => await world[Symbol.asyncDispose]())

const sync = { kind: 'sync', source: 'production', target: 'staging', tables: ['Component'] }

function urlWith(url: string, change: (parts: URL) => void): string {
  const parts = new URL(url)
  change(parts)
  return parts.href
}

describe('what is asked for', () => {
  test.each([
    ['a target', { ...sync, target: 'elsewhere' }],
    ['a source', { kind: 'export', source: 'elsewhere' }],
    ["a database that has a name of JavaScript's own", { kind: 'export', source: 'constructor' }],
  ])('%s that the agent does not know is refused, and the hint names those it knows', async (_, params) => {
    const { hint } = await expectRefusal(world, params, { outcome: 'refused', code: 'database-unknown' })
    expect(hint).toContain('production, staging, same')
  })

  test('a table that does not exist is refused by name, with the name that may be meant', async () => {
    const asked = { ...sync, tables: ['component'] }
    const { message, hint } = await expectRefusal(world, asked, { outcome: 'refused', code: 'table-unknown' })
    expect(message).toContain('component')
    expect(hint).toContain('public.Component')
  })

  test.each([
    ['no pattern', []],
    ['patterns that match no table', ['no*', 'public.none_*']],
  ])('a selection of %s is empty', async (_, tables) => {
    await expectRefusal(world, { ...sync, tables }, { outcome: 'refused', code: 'selection-empty' })
  })

  test('a table that the route keeps back is refused when it is asked for by name', async () => {
    const asked = { ...sync, tables: ['File'] }
    const { message } = await expectRefusal(world, asked, { outcome: 'refused', code: 'policy-denied' })
    expect(message).toContain('public.File')
  })

  test('the source as its own target is refused', async () => {
    const asked = { ...sync, source: 'staging', target: 'staging' }
    await expectRefusal(world, asked, { outcome: 'refused', code: 'same-database' })
  })

  test('the source as its own target under another name is refused', async () => {
    await expectRefusal(world, { ...sync, target: 'same' }, { outcome: 'refused', code: 'same-database' })
  })

  test('the source as its own target under another name and host is refused', async () => {
    const { url } = world.source
    const env = { SAME_DATABASE_URL: urlWith(url, (parts) => (parts.hostname = 'localhost')) }
    await expectRefusal(world, { ...sync, target: 'same' }, { outcome: 'refused', code: 'same-database', env })
  })

  test('a protected target is refused', async () => {
    const asked = { kind: 'sync', source: 'staging', target: 'production' }
    await expectRefusal(world, asked, { outcome: 'refused', code: 'target-protected' })
  })

  test('a way without a route is refused, and so is a target as a source', async () => {
    const asked = { kind: 'sync', source: 'staging', target: 'same' }
    await expectRefusal(world, asked, { outcome: 'refused', code: 'policy-denied' })
    await expectRefusal(world, { kind: 'export', source: 'same' }, { outcome: 'refused', code: 'policy-denied' })
  })

  test('an engine that does not fit the target is refused', async () => {
    const { details } = await expectRefusal(
      world,
      { ...sync, engine: 'create' },
      { outcome: 'refused', code: 'target-not-empty' },
    )
    expect(details).toEqual(['public.Component'])
  })

  test('an archive that does not exist is refused', async () => {
    const asked = { kind: 'restore', archive: '20200101T000000Z-production-none', target: 'staging' }
    await expectRefusal(world, asked, { outcome: 'refused', code: 'archive-unknown' })
  })
})

describe('databases', () => {
  test.each(['PRODUCTION_DATABASE_URL', 'STAGING_DATABASE_URL'])('a wrong password in %s is told', async (name) => {
    const password = 'canary-pw-7%2F%20"x'
    const env = { [name]: urlWith(world.env[name] ?? '', (parts) => (parts.password = password)) }
    const canaries = ['canary-pw-7', 'canary-pw-7/']
    const { message } = await expectRefusal(world, sync, { outcome: 'failed', code: 'database-auth', env, canaries })
    expect(message).toContain(name.startsWith('STAGING') ? 'staging' : 'production')
  })

  test('a database name that is wrong is told', async () => {
    const env = { STAGING_DATABASE_URL: urlWith(world.target.url, (parts) => (parts.pathname = '/canary_database')) }
    await expectRefusal(world, sync, { outcome: 'failed', code: 'database-missing', env })
  })

  test('a port where nothing listens, and a host name that is not known, are told', async () => {
    const port = String(await freePort())
    const closed = { STAGING_DATABASE_URL: urlWith(world.target.url, (parts) => (parts.port = port)) }
    await expectRefusal(world, sync, { outcome: 'failed', code: 'database-unreachable', env: closed })
    const nowhere = { STAGING_DATABASE_URL: urlWith(world.target.url, (parts) => (parts.hostname = 'canary.invalid')) }
    const canaries = ['canary.invalid']
    await expectRefusal(world, sync, { outcome: 'failed', code: 'database-unreachable', env: nowhere, canaries })
  })

  test.each([
    ['is not a URL', 'host=canary-pw-1 password=canary-pw-2'],
    ['is the URL of something else', 'mysql://user:canary-pw-1@127.0.0.1:3306/parts'],
    ['is not set', ''],
  ])('a database whose URL %s is told, and the value is not', async (_, value) => {
    const env = { STAGING_DATABASE_URL: value }
    const canaries = ['canary-pw-1', 'canary-pw-2']
    await expectRefusal(world, sync, { outcome: 'failed', code: 'config-invalid', env, canaries })
  })

  test.each(['PRODUCTION_DATABASE_URL', 'STAGING_DATABASE_URL'])('a pooler behind %s is refused', async (name) => {
    const direct = world.env[name] ?? ''
    const { hostname: host, port } = new URL(direct)
    await using proxy = await startChaosProxy({ target: { host, port: Number(port) } })
    proxy.rewrite(otherBackendPid)
    const env = { [name]: proxy.url(direct) }
    const { hint } = await expectRefusal(world, sync, { outcome: 'refused', code: 'database-pooler', env })
    expect(hint).toContain('direct URL')
  })

  test('a target that is set to be read-only is refused', async () => {
    const client = await world.target.client()
    const name = client.escapeIdentifier(world.target.name)
    await client.query(`alter database ${name} set default_transaction_read_only = on`)
    try {
      await expectRefusal(world, sync, { outcome: 'refused', code: 'database-read-only' })
    } finally {
      await client.query('set transaction_read_only = off')
      await client.query(`begin read write; alter database ${name} reset default_transaction_read_only; commit`)
    }
  })

  test('a role without the rights it needs is told which tables it does not own', async () => {
    const client = await world.target.client()
    const role = `weak_${world.target.name}`
    await client.query(`create role ${role} login password 'canary-pw-9'`)
    try {
      await client.query(
        `grant usage on schema public to ${role}; grant select on all tables in schema public to ${role}`,
      )
      const env = {
        STAGING_DATABASE_URL: urlWith(world.target.url, (parts) => {
          parts.username = role
          parts.password = 'canary-pw-9'
        }),
      }
      const expected = { outcome: 'failed', code: 'permission-denied', env, canaries: ['canary-pw-9'] } as const
      const { details } = await expectRefusal(world, { ...sync, engine: 'truncate' }, expected)
      expect(details).toEqual([expect.stringContaining('Component')])
    } finally {
      await client.query(`drop owned by ${role}; drop role ${role}`)
    }
  })
})

describe('the bucket', () => {
  test.each([
    ['that does not exist is told', 'bucket-missing', { S3_BUCKET: 'no-such-bucket' }],
    ['whose key id is wrong is told', 'storage-auth', { S3_ACCESS_KEY_ID: 'canary-key' }],
    ['whose secret is wrong is told', 'storage-auth', { S3_SECRET_ACCESS_KEY: 'canary-secret-key' }],
    ['that is out of reach is told', 'storage-unreachable', { S3_ENDPOINT: 'http://127.0.0.1:9' }],
  ])('%s', { timeout: 120_000 }, async (_, code, env) => {
    const canaries = ['canary-key', 'canary-secret-key']
    await expectRefusal(world, sync, { outcome: 'failed', code, env, canaries })
  })
})

/** As poolers do: what BackendKeyData (PostgreSQL docs, "Message Formats") announces is not the server's process. */
function otherBackendPid(bytes: Buffer): Buffer {
  const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
  if (at < 0) return bytes
  const changed = Buffer.from(bytes)
  changed.writeInt32BE(changed.readInt32BE(at + 5) + 1, at + 5)
  return changed
}
