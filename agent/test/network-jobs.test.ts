import { setTimeout as sleep } from 'node:timers/promises'
import { jobParamsSchema } from '@multiboard-sync/shared/job'
import { startChaosProxy, type ChaosProxy } from '@multiboard-sync/shared/testing/chaos-proxy'
import { templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { runLocalJob } from '../src/cli/run-local-job.ts'
import { readEnv } from '../src/env.ts'
import { openContext } from '../src/open-context.ts'
import { mustSucceed } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/**
 * Whole jobs over bad lines to the source, the target and the store: they take longer, and what they leave behind is what
 * they leave over good ones. What is cut follows from the seed; which connection is the n-th is a matter of timing.
 */

const JOB_DEADLINE_MS = 240_000
const TEST_DEADLINE_MS = 300_000
const ROUND_TRIP_MS = 50
const MB = 1e6
const TABLES = ['board', 'part', 'price', 'label']

const DEFINITIONS = `
create table public.board (id bigint primary key, name text not null, made timestamptz not null default now());
create table public.part (id bigint primary key, board bigint not null references public.board, name text not null,
  notes text not null, weight numeric, tags text[]);
create index part_board on public.part (board);
create index part_name on public.part (name text_pattern_ops);
create table public.price (part bigint not null references public.part, at date, amount numeric, primary key (part, at));
create table public.label (id int generated always as identity primary key, part bigint references public.part, text text);`
/** "part" is the one that is cut into slices: about 80 MB, half of which gzip cannot make smaller. */
const ROWS = `
insert into public.board select n, 'board ' || n from generate_series(1, 2000) n;
insert into public.part select n, 1 + n % 2000, 'part ' || md5(n::text), md5(n::text) || md5((n * 7)::text) || md5((n * 11)::text)
  || repeat(' of steel', 10), n / 7.0, array['a' || n % 13, null, 'c'] from generate_series(1, 250000) n;
insert into public.price select n, date '2026-01-01' + n % 300, n * 1.25 from generate_series(1, 60000) n;
insert into public.label (part, text) select n, 'label ' || n from generate_series(1, 30000) n;`

let stack: AsyncDisposableStack
let world: World

interface Lines {
  source: ChaosProxy
  target: ChaosProxy
  store: ChaosProxy
}

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  const build = (rows: string) => async (database: TestDatabase) => {
    const client = await database.client()
    await client.query(`${DEFINITIONS} ${rows}; analyze;`)
    await client.end()
  }
  const source = await templateDatabase('network source', build(ROWS))
  const target = await templateDatabase('network target', build(`insert into public.board values (1, 'old')`))
  world = stack.use(await openWorld({ source: { template: source }, target: { template: target } }))
}, 180_000)

afterAll(async () => await stack.disposeAsync())

async function openLines(made: AsyncDisposableStack): Promise<Lines> {
  const postgres = { host: inject('postgres').host, port: inject('postgres').port }
  const { hostname, port } = new URL(world.store.endpoint)
  const open = async (target: { host: string; port: number }) =>
    made.use(await startChaosProxy({ target, latencyMs: ROUND_TRIP_MS / 2 }))
  return {
    source: await open(postgres),
    target: await open(postgres),
    store: await open({ host: hostname, port: Number(port) }),
  }
}

interface Done {
  archive: string
  seconds: number
  /** Warnings, in words. */
  trouble: string[]
}

async function run({ source, target, store }: Lines, params: Record<string, unknown>): Promise<Done> {
  const env = {
    ...world.env,
    PRODUCTION_DATABASE_URL: source.url(world.source.url),
    STAGING_DATABASE_URL: target.url(world.target.url),
    S3_ENDPOINT: store.url(world.store.endpoint),
  }
  await using opened = await openContext(readEnv(env))
  const trouble: string[] = []
  const startedAt = performance.now()
  const { result } = await runLocalJob(opened, jobParamsSchema.parse(params), {
    dryRun: false,
    sinks: [
      {
        phase: () => undefined,
        progress: () => undefined,
        event: ({ level, type, data }) => {
          if (level === 'warning') trouble.push(`${type} ${JSON.stringify(data)}`)
        },
      },
    ],
    signal: AbortSignal.timeout(JOB_DEADLINE_MS),
  })
  const seconds = (performance.now() - startedAt) / 1000
  const cut = Object.entries({ source, target, store }).map(
    ([name, { met }]) => `${name} ${met.cut}/${met.connections}`,
  )
  console.log(`${String(params['kind'])}: ${seconds.toFixed(1)} s; cut ${cut.join(', ')}; ${trouble.length} warnings`)
  const done = mustSucceed({ ...result, details: [...(result.details ?? []), ...trouble] })
  return { archive: done.archive?.id ?? '', seconds, trouble }
}

/** Our own sums, not the product's. */
async function sums(database: TestDatabase): Promise<Record<string, unknown>> {
  const client = await database.client()
  const found: Record<string, unknown> = {}
  for (const table of TABLES) {
    const { rows } = await client.query(
      `select count(*)::int as rows, sum(hashtextextended(t::text, 7)::numeric)::text as sum from public.${table} t`,
    )
    found[table] = rows[0]
  }
  await client.end()
  return found
}

/** The target has every row once, and nothing of the job is left anywhere. */
async function isWhole(): Promise<void> {
  expect(await sums(world.target)).toEqual(await sums(world.source))
  const client = await world.target.client()
  const left = await client.query(`select nspname from pg_namespace where nspname ~ '^multiboard_sync_(stage|hold)'`)
  expect(left.rows).toEqual([])
  const invalid = await client.query(`
    select conname as name from pg_constraint where not convalidated
    union all select indexrelid::regclass::text from pg_index where not indisvalid`)
  expect(invalid.rows).toEqual([])
  const sessions = await client.query(
    `select application_name from pg_stat_activity where datname = current_database() and application_name ~ '^multiboard'`,
  )
  expect(sessions.rows).toEqual([])
  await client.end()
  expect(await world.store.openUploads(world.bucket)).toEqual([])
}

async function empty(): Promise<void> {
  const client = await world.target.client()
  await client.query(`delete from public.label where id % 2 = 0; update public.board set name = 'changed'`)
  await client.end()
}

const SYNC = { kind: 'sync', source: 'production', target: 'staging', engine: 'swap' }

test(
  'A sync over lines of 50 ms of which one in a hundred is cut succeeds',
  async () => {
    await using made = new AsyncDisposableStack()
    const lines = await openLines(made)
    for (const line of Object.values(lines)) line.cuts({ seed: 1, share: 0.01 })
    await run(lines, SYNC)
    await isWhole()
  },
  TEST_DEADLINE_MS,
)

test.each([1, 2])(
  'A sync, an export and a restore succeed over lines that cut every fifth connection and let none grow old (seed %d)',
  async (seed) => {
    await using made = new AsyncDisposableStack()
    const lines = await openLines(made)
    lines.source.cuts({ seed, share: 0.2, withinBytes: 40 * MB, everyBytes: 100 * MB })
    lines.target.cuts({ seed: seed + 100, share: 0.2, withinBytes: 40 * MB, everyBytes: 100 * MB })
    lines.store.cuts({ seed: seed + 200, share: 0.2, withinBytes: 10 * MB, everyBytes: 24 * MB })
    await empty()
    await run(lines, SYNC)
    await isWhole()
    const { archive } = await run(lines, { kind: 'export', source: 'production' })
    await empty()
    await run(lines, { kind: 'restore', archive, target: 'staging', engine: 'swap' })
    await isWhole()
    expect(lines.source.met.cut + lines.target.met.cut + lines.store.met.cut).toBeGreaterThan(3)
  },
  TEST_DEADLINE_MS,
)

test(
  'A sync gets over moments in which all connections to the target or the store are lost, and one in which nothing moves',
  async () => {
    await using made = new AsyncDisposableStack()
    const lines = await openLines(made)
    await empty()
    const stop = new AbortController()
    const blips = async (): Promise<void> => {
      // Not the source's: what all of its connections share, the snapshot, is gone with the last of them.
      for (const line of [lines.target, lines.store, lines.target, lines.store]) {
        await sleep(4_000, undefined, { signal: stop.signal })
        line.cutAll()
      }
      await sleep(2_000, undefined, { signal: stop.signal })
      for (const line of Object.values(lines)) line.blackhole()
      await sleep(5_000)
      for (const line of Object.values(lines)) await line.resume()
    }
    const blipping = blips().catch(() => undefined)
    await run(lines, SYNC)
    stop.abort()
    await blipping
    await isWhole()
  },
  TEST_DEADLINE_MS,
)
