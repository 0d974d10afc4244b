import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { startChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { openGate } from './road/gate.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/* A sync whose rows flow once: from the source through its archive into the target, and what stops it on the way. */

const SQL = `create table public.part (id int primary key, name text not null); create index on public.part (name);
  create table public.note (part int references public.part, text text);
  create table public.wide (id int primary key, filler text); alter table public.wide alter filler set storage external;`
const ROWS = `insert into public.part select n, 'part ' || n from generate_series(1, 2000) n;
  insert into public.note select n, 'note ' || n from generate_series(1, 500) n;
  insert into public.wide select n, repeat(md5(n::text), 100) from generate_series(1, 2000) n;`
const sync = { kind: 'sync', source: 'production', target: 'staging' }
const traceSchema = z.object({
  kind: z.string(),
  lanes: z.int(),
  spans: z.array(z.object({ lane: z.int(), kind: z.string(), name: z.string(), begin_ms: z.int(), end_ms: z.int() })),
})

async function count(database: TestDatabase, sql: string): Promise<number> {
  const client = await database.client()
  try {
    return Number((await client.query<{ n: string }>(`select (${sql}) as n`)).rows[0]?.n)
  } finally {
    await client.end()
  }
}

const RELATIONS = `select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'multiboard_sync')`
const STAGES = `select count(*) from pg_namespace where nspname ~ '^multiboard_sync_(stage|hold)'`

async function readTraces(world: World): Promise<z.infer<typeof traceSchema>[]> {
  const folder = join(world.dir, 'state', 'traces')
  const files = await readdir(folder)
  return await Promise.all(
    files.map(async (name) => traceSchema.parse(JSON.parse(await readFile(join(folder, name), 'utf8')))),
  )
}

/** What `match` names is cut off once, in the middle of what it asked for. */
async function cutOnce(url: string, match: RegExp) {
  const gate = await openGate(new URL(url))
  const cut = gate.stopAt(match, 'after').then(async (caught) => {
    await caught.answered
    caught.cut()
  })
  return { gate, cut }
}

test('a swap writes its archive while it loads, and keeps what ran when', { timeout: 120_000 }, async () => {
  await using world = await openWorld({ source: { sql: SQL + ROWS }, target: { sql: SQL } })
  const phases: unknown[] = []
  const onEvent = (type: string, data: unknown): void => {
    if (type === 'job.phase') phases.push(z.object({ phase: z.string() }).parse(data).phase)
  }
  const result = mustSucceed(await runJobHere(world, sync, { onEvent }))
  expect(result).toMatchObject({ engine: 'swap', rows: 4500, archive: { rows: 4500 }, safety_backup: { rows: 0 } })
  expect(phases).toEqual(['preflight', 'staging', 'loading', 'building', 'proving', 'swapping', 'cleanup'])
  const [trace] = await readTraces(world)
  expect(trace).toMatchObject({ kind: 'sync', lanes: 4 })
  const kinds = new Set(trace?.spans.map(({ kind }) => kind))
  expect(kinds).toEqual(new Set(['phase', 'copy', 'backup', 'checksum', 'index', 'key', 'analyze']))
  expect(trace?.spans.filter(({ lane }) => lane === 0).map(({ name }) => name)).toEqual(phases)
  // The archive is one like any other.
  const archive = result.archive?.id ?? ''
  mustSucceed(await runJobHere(world, { kind: 'restore', archive, target: 'staging' }))
})

describe('a connection that is cut once, in the middle of the rows, costs no row and not the job', () => {
  test.each(['swap', 'merge'])('to the source (%s)', async (engine) => {
    const sql = SQL.replace('(part int', '(id serial primary key, part int')
    const rows = ROWS.replace('public.note select', 'public.note (part, text) select')
    await using world = await openWorld({ source: { sql: sql + rows }, target: { sql } })
    const { gate, cut } = await cutOnce(world.source.url, /copy (\(select|"public"\."wide")/)
    await using _ = gate
    const env = { PRODUCTION_DATABASE_URL: gate.url(world.source.url) }
    const result = mustSucceed(await runJobHere(world, { ...sync, engine }, { env }))
    await withDeadline('the cut', 1000, cut)
    expect(result).toMatchObject({ engine, rows: 4500 })
    expect(await count(world.target, 'select count(*) from public.wide')).toBe(2000)
  })

  test('to the target', async () => {
    await using world = await openWorld({ source: { sql: SQL + ROWS }, target: { sql: SQL } })
    const { gate, cut } = await cutOnce(world.target.url, /copy "multiboard_sync_stage/)
    await using _ = gate
    const env = { STAGING_DATABASE_URL: gate.url(world.target.url) }
    expect(mustSucceed(await runJobHere(world, sync, { env })).rows).toBe(4500)
    await withDeadline('the cut', 1000, cut)
    expect(await count(world.target, 'select count(*) from public.part')).toBe(2000)
  })
})

test('a source that has lost its rows is refused when both sides are counted, with its archive kept and nothing changed', async () => {
  await using world = await openWorld({ source: { sql: SQL + ROWS }, target: { sql: SQL + ROWS } })
  await world.writePolicy(`
databases: { production: { role: source }, staging: { role: target } }
routes: [{ from: production, to: staging, max_row_drop_pct: 30 }]
`)
  const client = await world.source.client()
  await client.query('delete from public.note; delete from public.part where id > 100')
  const result = await runJobHere(world, sync)
  expect(result).toMatchObject({ outcome: 'refused', code: 'row-drop', target_state: 'untouched' })
  expect(result.archive?.rows).toBe(2100)
  expect(result.safety_backup?.rows).toBe(4500)
  expect(await count(world.target, 'select count(*) from public.part')).toBe(2000)
  expect(await count(world.target, STAGES)).toBe(0)
})

describe('create leaves an empty target exactly empty', () => {
  test('when the source goes away in the middle of the rows', async () => {
    await using world = await openWorld({ source: { sql: SQL + ROWS } })
    const { hostname, port } = new URL(world.source.url)
    await using proxy = await startChaosProxy({ target: { host: hostname, port: Number(port) } })
    const env = { PRODUCTION_DATABASE_URL: proxy.url(world.source.url) }
    const onEvent = (type: string, data: unknown): void => {
      if (type !== 'job.phase' || !JSON.stringify(data).includes('loading')) return
      proxy.refuse()
      proxy.cutAfterBytes(1_000_000, 'toClient')
    }
    const result = await runJobHere(world, { ...sync, engine: 'create' }, { env, onEvent })
    expect(result).toMatchObject({ outcome: 'failed', target_state: 'rolled_back' })
    expect(result.archive).toBe(undefined)
    expect(await count(world.target, RELATIONS)).toBe(0)
    expect(await world.store.openUploads(world.bucket)).toEqual([])
  })

  test('when the store refuses in the middle of the rows', async () => {
    await using world = await openWorld({ source: { sql: SQL + ROWS } })
    await using gate = await openGate(new URL(world.store.endpoint))
    gate.answer(/PUT \S+\/archives\/\S+\/100-data\/public\.part\//, DENIED)
    const env = { S3_ENDPOINT: gate.url(world.store.endpoint) }
    const result = await runJobHere(world, { ...sync, engine: 'create' }, { env })
    expect(result).toMatchObject({ outcome: 'failed', code: 'storage-auth', target_state: 'rolled_back' })
    expect(result.archive).toBe(undefined)
    expect(await count(world.target, RELATIONS)).toBe(0)
  })
})

const BODY = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>'
const DENIED = `HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\nconnection: close\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`
