import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, test } from 'vitest'
import { openGate } from './road/gate.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, POLICY } from './road/world.ts'

/* A sync with the fewest connections, with too few of them, and what it says and leaves when its store or disk is no good. */

const SQL = `create table public.part (id int primary key, name text not null); create index on public.part (name);
  create table public.note (id serial primary key, part int references public.part, text text);`
const ROWS = `insert into public.part select n, 'part ' || n from generate_series(1, 2000) n;
  insert into public.note (part, text) select n, 'note ' || n from generate_series(1, 500) n;`
const sync = { kind: 'sync', source: 'production', target: 'staging' }
const STAGES = `select nspname from pg_namespace where nspname ~ '^multiboard_sync_(stage|hold)'`

async function ask(database: TestDatabase, sql: string): Promise<unknown[]> {
  const client = await database.client()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

test.each(['swap', 'merge', 'truncate'])('one connection a database is enough (%s)', async (engine) => {
  await using world = await openWorld({ source: { sql: SQL + ROWS }, target: { sql: SQL + ROWS } })
  await world.writePolicy(`${POLICY}limits: { connections_per_database: 1 }\n`)
  const result = mustSucceed(await runJobHere(world, { ...sync, engine }))
  expect(result).toMatchObject({ engine, safety_backup: { rows: 2500 }, archive: { rows: 2500 } })
  expect(result.proof?.map(({ checksum }) => checksum)).toEqual(['equal', 'equal'])
})

test('where the lanes take every connection there is the job says which limit to lower, and leaves no stage', async () => {
  const more = Array.from({ length: 20 }, (_, n) => `create table public.x${n} (id int primary key);`).join('')
  await using world = await openWorld({ source: { sql: SQL + more }, target: { sql: SQL + more } })
  await world.writePolicy(`${POLICY}limits: { connections_per_database: 32 }\n`)
  const role = `few_${randomBytes(4).toString('hex')}`
  await ask(world.target, `create role ${role} login password 'canary-pw-31' connection limit 12`)
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      await ask(world.source, `reassign owned by ${role} to current_user`)
      await ask(world.target, `reassign owned by ${role} to current_user; drop role ${role}`)
    },
  }
  const as = async (database: TestDatabase): Promise<string> => {
    await ask(
      database,
      `alter database ${database.name} owner to ${role}; alter schema public owner to ${role};
       do $$ declare t regclass; begin
         for t in select oid::regclass from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace loop
           execute format('alter table %s owner to ${role}', t);
         end loop;
       end $$`,
    )
    const url = new URL(database.url)
    ;[url.username, url.password] = [role, 'canary-pw-31']
    return url.href
  }
  const env = { PRODUCTION_DATABASE_URL: await as(world.source), STAGING_DATABASE_URL: await as(world.target) }
  const told: string[] = []
  const result = await runJobHere(world, sync, { env, onEvent: (type) => told.push(type) })
  expect(result).toMatchObject({ outcome: 'failed', code: 'database-unreachable', target_state: 'untouched' })
  expect(result.message).toContain('(53300)')
  expect(result.hint).toContain('limits.connections_per_database')
  expect(told).not.toContain('stage.left')
  expect(await ask(world.target, STAGES)).toEqual([])
})

test('a store that is full ends the job at once and in so many words, with nothing left', async () => {
  await using world = await openWorld({ source: { sql: SQL + ROWS }, target: { sql: SQL + ROWS } })
  await using gate = await openGate(new URL(world.store.endpoint))
  gate.answer(/PUT \S+\/archives\/\S+\/100-data\//, FULL)
  const told: string[] = []
  const result = await runJobHere(world, sync, {
    env: { S3_ENDPOINT: gate.url(world.store.endpoint) },
    onEvent: (type) => told.push(type),
  })
  expect(result).toMatchObject({ outcome: 'failed', code: 'storage-failed', target_state: 'untouched' })
  expect(result.message).toMatch(/^The object store is full \(XMinioStorageFull, /)
  expect(told).not.toContain('stage.retried')
  expect(await ask(world.target, STAGES)).toEqual([])
  expect(await world.store.openUploads(world.bucket)).toEqual([])
})

test('a trace that cannot be kept is told of, and changes nothing', async () => {
  await using world = await openWorld({ source: { sql: SQL + ROWS }, target: { sql: SQL } })
  await mkdir(join(world.dir, 'state'), { recursive: true })
  await writeFile(join(world.dir, 'state', 'traces'), 'no folder')
  const told: string[] = []
  mustSucceed(await runJobHere(world, sync, { onEvent: (type) => told.push(type) }))
  expect(told).toContain('trace.not-kept')
})

const BODY = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>XMinioStorageFull</Code><Message>no</Message></Error>'
const FULL = `HTTP/1.1 507 Insufficient Storage\r\ncontent-type: application/xml\r\nconnection: close\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`
