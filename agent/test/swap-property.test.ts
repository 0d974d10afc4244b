import { join } from 'node:path'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import type { Engine, EngineChoice } from '@multiboard-sync/shared/job'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { readTarget } from './matrix/read-target.ts'
import { blueprint, type Blueprint } from './property/blueprint.ts'
import { OWNER, READER } from './property/make-place.ts'
import { readContents, type Contents } from './property/read-contents.ts'
import { makeDatabases } from './property/schema-sql.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/*
 * Databases made at random from every kind of object that a swap carries, copied into one that differs in its rows, and put
 * back by an undo. Each seed is one database; a seed alone repeats a run:
 *
 *   PROPERTY_SEED=17 PROPERTY_RUNS=1 vitest run … agent/test/swap-property.test.ts
 *   PROPERTY_SHRINK=1                         also looks for the smallest database that fails, which takes minutes
 */

const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 12)
const FIRST_SEED = Number(process.env['PROPERTY_SEED'] ?? 1)
const SHRINKS = process.env['PROPERTY_SHRINK'] === '1'
const SHRINK_MS = 600_000
const RUN_MS = SHRINKS ? SHRINK_MS * 2 : 120_000

const { major } = inject('postgres')
let world: World
let runs = 0

beforeAll(async () => {
  world = await openWorld()
  await using roles = await createDatabase()
  await (await roles.client()).query(`create role ${OWNER} nologin; create role ${READER} nologin`)
})
afterAll(async () => await world[Symbol.asyncDispose]())

const seeds = Array.from({ length: RUNS }, (_, n) => FIRST_SEED + n)

describe.concurrent('A database made at random', () => {
  it.for(seeds)('is copied by swap and put back by undo (seed %i)', { timeout: RUN_MS }, async (seed) => {
    const property = fc.asyncProperty(blueprint, async (one) => await expectRoundTrip(one))
    const limits = SHRINKS ? { interruptAfterTimeLimit: SHRINK_MS } : { endOnFailure: true }
    const { failed, counterexample, errorInstance } = await fc.check(property, { seed, numRuns: 1, ...limits })
    if (!failed) return
    if (counterexample) print(seed, counterexample[0])
    throw errorInstance
  })
})

/** Two unique indexes with the same columns: also the primary key's, also of another order by name and by age. */
const TWICE = `
  create schema apart;
  create table public.p (id int primary key, code int not null);
  create unique index a_first on public.p (id);
  create unique index z_code on public.p (code);
  create unique index a_code on public.p (code);
  create table public.q (id int not null);
  create unique index q_older on public.q (id);
  alter table public.q add primary key (id);
  create table public.c (id int primary key, p int references public.p, code int references public.p (code), q int references public.q);
  create table apart.o (p int references public.p, code int references public.p (code), q int references public.q);
  insert into public.p select n, n from generate_series(1, 5) n;
  insert into public.q values (1), (2);
  insert into public.c values (1, 1, 1, 1);`

it.concurrent.for(['swap', 'truncate'] as const)(
  'A foreign key stands on the same one of several unique indexes after a %s',
  { timeout: RUN_MS },
  async (engine) => {
    const later = 'delete from public.p where id = 4; insert into apart.o values (2, 2, 2)'
    await expectCopiedAndBack([TWICE], [TWICE, later], ['public.*'], engine)
  },
)

function print(seed: number, failing: Blueprint): void {
  const { source, target, tables } = makeDatabases(failing, major)
  process.stdout.write(
    [
      `PROPERTY_SEED=${seed} on PostgreSQL ${major} fails with`,
      `-- tables: ${tables?.join(' ') ?? 'all'}`,
      '-- the source',
      ...source.map((sql) => `${sql};`),
      '-- the target, beyond or other than the source',
      ...target.filter((sql) => !source.includes(sql)).map((sql) => `${sql};`),
      '',
    ].join('\n'),
  )
}

async function expectRoundTrip(one: Blueprint): Promise<void> {
  const { source, target, tables } = makeDatabases(one, major)
  await expectCopiedAndBack(source, target, tables, 'swap', 'auto')
}

async function expectCopiedAndBack(
  sourceSql: string[],
  targetSql: string[],
  tables: string[] | undefined,
  engine: Engine,
  asked: EngineChoice = engine,
): Promise<void> {
  await using source = await createDatabase()
  await using target = await createDatabase()
  await run(source, sourceSql)
  await run(target, targetSql)
  runs += 1
  const env = {
    PRODUCTION_DATABASE_URL: source.url,
    STAGING_DATABASE_URL: target.url,
    AGENT_STATE_DIR: join(world.dir, `state-${runs}`),
  }
  const [definitions, before, there] = await Promise.all([
    readDefinitions(target.url),
    readContents(target.url),
    readContents(source.url),
  ])
  const params = {
    kind: 'sync',
    source: 'production',
    target: 'staging',
    engine: asked,
    ...(tables ? { tables } : {}),
  }
  const done = mustSucceed(await runJobHere(world, params, { env }))
  expect(`${done.engine}: ${done.plan?.reason}`).toMatch(new RegExp(`^${engine}: `))
  const after = await readContents(target.url)
  const copied = new Set(done.plan?.tables.map(({ schema, name }) => plainName(schema, name)))
  expectCopied({ before, there, after, copied })
  expect(await readDefinitions(target.url), 'the definitions after the swap').toEqual(definitions)

  // Undoing another engine is a restore of its safety backup, with an engine of its own.
  if (done.engine !== 'swap') return
  mustSucceed(await runJobHere(world, { kind: 'undo', target: 'staging', job: done.receipt?.job }, { env }))
  const back = await readContents(target.url)
  expect(back.tables, 'the rows after the undo').toEqual(before.tables)
  expect(back.matviews, 'the materialised views after the undo').toEqual(before.matviews)
  expect(ownedSequences(back), 'the sequences after the undo').toEqual(ownedSequences(before))
  expect(await readDefinitions(target.url), 'the definitions after the undo').toEqual(definitions)
}

/** One that stands for itself is never set back. */
function ownedSequences({ sequences }: Contents): Contents['sequences'] {
  return Object.fromEntries(Object.entries(sequences).filter(([, { owner }]) => owner !== null))
}

interface Sides {
  before: Contents
  there: Contents
  after: Contents
  copied: Set<string>
}

function expectCopied({ before, there, after, copied }: Sides): void {
  const wanted = Object.keys(before.tables).map((name) => [name, (copied.has(name) ? there : before).tables[name]])
  expect(after.tables, 'the rows after the swap').toEqual(Object.fromEntries(wanted))
  for (const [name, { holds, answers }] of Object.entries(after.matviews))
    expect([name, holds], 'a materialised view is refreshed').toEqual([name, answers])
  expect(Object.keys(after.matviews)).toEqual(Object.keys(before.matviews))
  for (const [name, { value, owner }] of Object.entries(after.sequences)) {
    const travels = owner !== null && copied.has(owner)
    const allowed = travels ? [there] : owner === null ? [there, before] : [before]
    expect(
      allowed.map((side) => side.sequences[name]?.value),
      name,
    ).toContain(value)
  }
  expect(
    after.asides.filter((name) => !name.startsWith('multiboard_sync_prev_')),
    'nothing is left beside',
  ).toEqual([])
}

async function readDefinitions(url: string): Promise<string[]> {
  const { definitions, dependencies } = await readTarget(url)
  return [...definitions, ...dependencies]
}

/** As format('%I.%I') writes it. */
function plainName(schema: string, name: string): string {
  return [schema, name]
    .map((part) => (/^[a-z_][a-z0-9_$]*$/.test(part) && !RESERVED.has(part) ? part : `"${part.replaceAll('"', '""')}"`))
    .join('.')
}
const RESERVED = new Set(['select', 'user'])

async function run(database: TestDatabase, statements: string[]): Promise<void> {
  const client = await database.client()
  for (const sql of statements) {
    try {
      await client.query(sql)
    } catch (error) {
      throw new Error(`The test's own SQL is wrong: ${String(error)}\n${sql}`, { cause: error })
    }
  }
  await client.end()
}
