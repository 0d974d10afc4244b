import { startPostgres } from '@multiboard-sync/shared/testing/postgres'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import type { EngineChoice } from '@multiboard-sync/shared/job'
import { toSyncError } from '@multiboard-sync/shared/sync-error'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { checkPrepared, checkSourceLocks, checkSwapLocks } from '../src/plan/check-locks.ts'
import { checkSwapRights } from '../src/plan/check-rights.ts'
import { checkVeto } from '../src/plan/check-veto.ts'
import type { Origin } from '../src/plan/origin.ts'
import { planReplacement } from '../src/plan/plan-replacement.ts'
import { readTables } from '../src/postgres/catalog.ts'
import { readFingerprint } from '../src/postgres/fingerprint.ts'
import { openTarget } from '../src/postgres/open-target.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { readSwapSet } from '../src/postgres/swap-set/read-swap-set.ts'
import type { SwapSet } from '../src/postgres/swap-set/swap-set.ts'
import { readState } from './road/compare-databases.ts'

/* What the plan finds out before a swap: which engine can do it, and everything that the target has to grant or to lack. */

const { major } = inject('postgres')
const signal = AbortSignal.timeout(120_000)

async function open(url: string): Promise<Session> {
  return await openSession({ name: 'staging', url, viaProxy: false }, { purpose: 'test', signal })
}

/** The swap set of these tables, as a superuser sees it. */
async function setOf(url: string, ...tables: string[]): Promise<SwapSet> {
  await using session = await open(url)
  const rows = await session.query<{ oid: number }>(
    'select name::regclass::oid::int8::float8 as oid from unnest($1::text[]) as name',
    [tables],
  )
  const oids = rows.map(({ oid }) => oid)
  return await readSwapSet(session, oids)
}

async function refusal(promise: Promise<unknown>): Promise<{ code: string; details: string[]; hint: string }> {
  const error = toSyncError(
    await promise.then(
      () => new Error('nothing was refused'),
      (thrown: unknown) => thrown,
    ),
  )
  expect(error.hint).toMatch(/^\S.{10,}/)
  return error
}

describe('rights', () => {
  let database: TestDatabase
  let client: pg.Client
  const names = (role: string): string => `${role}_${database.name}`

  beforeAll(async () => {
    database = await createDatabase()
    client = await database.client()
    const [agent, owner] = [names('agent'), names('owner')]
    await client.query(`
      create role ${agent} login password 'pw'; create role ${owner};
      create schema app;
      create table app.up (id int primary key);
      create table app.a (id int primary key, x int, y int, up int constraint to_up references app.up);
      create statistics app.s on x, y from app.a;
      create table app.down (a int constraint from_down references app.a);
      create view app.v as select id from app.a;
      create materialized view app.m as select id from app.v;
      create view public.w as select x from app.a;
      create table app.ruled (id int);
      create policy p on app.ruled using (id in (select id from app.a));
      do $$ begin
        if current_setting('server_version_num')::int >= 140000 then
          execute 'create function public.f() returns bigint begin atomic select count(*) from app.a; end';
        end if;
      end $$;`)
    for (const table of ['a', 'm', 'v', 'down', 'ruled'])
      await client.query(`alter table app.${table} owner to ${owner}`)
    await client.query(`alter statistics app.s owner to ${owner}; revoke create on schema public from public`)
  })
  afterAll(async () => {
    await client.query(`drop owned by ${names('agent')}, ${names('owner')} cascade`)
    await client.query(`drop role ${names('agent')}, ${names('owner')}`)
    await database[Symbol.asyncDispose]()
  })

  const check = async (): Promise<void> => {
    const url = new URL(database.url)
    url.username = names('agent')
    url.password = 'pw'
    await using session = await open(url.href)
    await checkSwapRights(session, await setOf(database.url, 'app.a'))
  }

  test('D11: every right that a swap needs and the agent lacks is named at once', async () => {
    const { code, details } = await refusal(check())
    expect(code).toBe('permission-denied')
    const [owner, postgres] = [names('owner'), new URL(database.url).username]
    const lacks = "whose rights the agent's role does not have"
    expect(new Set(details)).toEqual(
      new Set([
        `create on database ${database.name} is missing`,
        'create on schema app is missing',
        'create on schema public is missing',
        `table a in app belongs to ${owner}, ${lacks}`,
        `view v in app belongs to ${owner}, ${lacks}`,
        `materialized view m in app belongs to ${owner}, ${lacks}`,
        `statistics s in app belongs to ${owner}, ${lacks}`,
        `view public.w belongs to ${postgres}, ${lacks}`,
        ...(major >= 14 ? [`function public.f() belongs to ${postgres}, ${lacks}`] : []),
        `policy p on app.ruled belongs to ${owner}, ${lacks}`,
        `table app.down, whose key leads to these tables, belongs to ${owner}`,
        'references, select and update on table app.up, to which a key of these tables leads, are not all there',
      ]),
    )
  })

  test('D11: a member of the owning role is let through once that role may create in the schemas', async () => {
    const [agent, owner] = [names('agent'), names('owner')]
    await client.query(`
      grant create on database ${database.name} to ${agent};
      grant usage, create on schema app, public to ${agent};
      grant ${owner} to ${agent};
      grant references, select, update on app.up to ${agent};
      alter view public.w owner to ${owner};`)
    if (major >= 14) await client.query(`alter function public.f() owner to ${owner}`)
    const { details } = await refusal(check())
    expect(new Set(details)).toEqual(
      new Set(
        ['table a', 'view v', 'materialized view m', 'statistics s'].map(
          (what) => `role ${owner}, to which ${what} belongs, lacks create on schema app`,
        ),
      ),
    )
    await client.query(`grant create on schema app to ${owner}`)
    await check()
  })

  test.skipIf(major < 16)('D11: membership without SET is not enough to give a successor its owner', async () => {
    const [agent, owner] = [names('agent'), names('owner')]
    await client.query(`grant ${owner} to ${agent} with set false`)
    const { details } = await refusal(check())
    expect(details).toContain(
      `role ${owner}, to which table a belongs, may not be set by the agent's role (SET option)`,
    )
    await client.query(`grant ${owner} to ${agent} with set true`)
    await check()
  })
})

test('event triggers that refuse what a swap does are found, those that let it pass are not, and nothing is left', async () => {
  await using database = await createDatabase({
    sql: `create table public.part (id int primary key);
      create materialized view public.m as select id from public.part;
      create table public.log (tag text);
      create function public.judge() returns event_trigger language plpgsql as $$ begin
        insert into public.log values (tg_tag);
        if tg_tag = current_setting('judge.tag', true) then raise exception 'not %', tg_tag; end if;
      end $$;
      create event trigger judge on ddl_command_end execute function public.judge();`,
  })
  const set = await setOf(database.url, 'public.part')
  const before = await readState(database.url)
  await using session = await open(database.url)
  await checkVeto(session, set)
  for (const tag of ['CREATE SCHEMA', 'ALTER TABLE', 'DROP TABLE', 'REFRESH MATERIALIZED VIEW']) {
    await session.run(`set judge.tag = '${tag}'`)
    const error = await refusal(checkVeto(session, set))
    expect(error).toMatchObject({
      code: 'unsupported-object',
      message: `An event trigger of "staging" refuses ${tag}.`,
      details: ['event trigger judge runs for definitions'],
    })
  }
  // Nothing of the set would be made by it.
  await session.run(`set judge.tag = 'CREATE POLICY'`)
  await checkVeto(session, set)
  expect(await readState(database.url)).toEqual(before)
})

test('a prepared transaction that holds locks is named, and D14: so is a lock table that is too small', async () => {
  const settings = { max_prepared_transactions: '2', max_locks_per_transaction: '10', max_connections: '10' }
  await using server = await startPostgres({ settings: { ...settings, shared_buffers: '16MB' } })
  const url = server.url('postgres')
  const client = new pg.Client(url)
  await client.connect()
  try {
    await client.query('create table public.part (id int primary key); create table public.other (id int)')
    await client.query('begin')
    await client.query('select from public.part')
    await client.query(`prepare transaction 'left behind'`)
    const set = await setOf(url, 'public.part')
    const oids = set.members.map(({ oid }) => oid)
    await using session = await open(url)
    const error = await refusal(checkPrepared(session, { oids, excludesReaders: true }))
    expect(error).toMatchObject({
      code: 'unsupported-object',
      details: ['prepared transaction "left behind" holds a lock on public.part'],
    })
    // It has only read: that is not in the way of a merge.
    await checkPrepared(session, { oids, excludesReaders: false })
    await client.query(`commit prepared 'left behind'`)
    await checkPrepared(session, { oids, excludesReaders: true })

    await checkSwapLocks(session, set, 1)
    const tables = Array.from({ length: 50 }, (_, n) => `public.t${n}`)
    for (const table of tables) await client.query(`create table ${table} (id int primary key, name text)`)
    expect(await refusal(checkSwapLocks(session, await setOf(url, ...tables), 52))).toMatchObject({
      code: 'unsupported-object',
      message: expect.stringMatching(/needs about 200 locks; the lock table of "staging" has 120, \d+ of them in use/),
      hint: expect.stringMatching(
        /Raise max_locks_per_transaction on its server to (?:1[7-9]|2\d) or more \(it is 10\)/,
      ),
    })
    // The one value that the hint names is enough for all steps of the job.
    expect(await refusal(checkSwapLocks(session, set, 100))).toMatchObject({
      message: expect.stringContaining('needs about 150 locks'),
    })
    // Those that read hold a lock on every table there is, twice, and pg_dump holds a third.
    await checkSourceLocks(session, 60)
    expect(await refusal(checkSourceLocks(session, 100))).toMatchObject({
      message: expect.stringContaining('needs about 150 locks'),
    })
    // What others hold has to have room beside them.
    await client.query(`begin; lock table ${tables.join(', ')} in access exclusive mode`)
    expect(await refusal(checkSourceLocks(session, 60))).toMatchObject({
      message: expect.stringMatching(/needs about 90 locks; .* (?:5\d|6\d) of them in use/),
    })
    await client.query('rollback')
  } finally {
    await client.end()
  }
})

describe('a plan', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase({
      sql: `
        create table public.free (id int primary key);
        create table public.typed (id int primary key);
        create table public.keyless (id int);
        create table public.indexed (id int primary key, n int);
        create table public.extended (id int primary key);
        create view public.v as select id from public.free;
        create materialized view public.m as select id from public.typed;
        create table public.down (free int constraint from_down references public.free);
        create function public.of_typed() returns setof public.typed language sql as 'select * from public.typed';
        create function public.of_keyless(public.keyless) returns int language sql as 'select 1';
        create index broken on public.indexed (n);
        update pg_index set indisvalid = false where indexrelid = 'public.broken'::regclass;
        create extension citext; alter extension citext add table public.extended;`,
    })
  })
  afterAll(async () => await database[Symbol.asyncDispose]())

  /** Of these tables, from a source that has the same. */
  async function planned(names: string[], asked: EngineChoice) {
    await using target = await openTarget({ name: 'staging', url: database.url, viaProxy: false }, signal)
    const tables = (await readTables(target.session)).filter(({ kind }) => kind === 'r')
    const chosen = tables.filter(({ name }) => names.includes(name))
    const origin: Origin = {
      database: 'production',
      identity: target.identity,
      tables: chosen.map(({ schema, name, columns }) => ({ schema, name, columns, rows: 0, bytes: 0 })),
      schema: { preData: '', sequences: '', postData: '' },
      isPartial: true,
    }
    const fingerprint = (await readFingerprint(target.session)).sha256
    return await planReplacement({ asked, origin, target, tables, originEntries: [], targetEntries: [], fingerprint })
  }

  test('of a swap names what is made again, the keys of other tables, and what becomes of late writes', async () => {
    expect(await planned(['free'], 'swap')).toMatchObject({
      engine: 'swap',
      reason: 'all that depends on these tables can be carried over',
      replaced: { members: 1 },
      remade: ['view public.v'],
      outside_foreign_keys: ['from_down of public.down'],
      notices: [
        expect.stringContaining('stay behind in the previous tables'),
        expect.stringContaining('kept for undo'),
      ],
      target_fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
  })

  test.each([
    { table: 'typed', finding: /of_typed.*typed/, hint: 'engine merge' },
    { table: 'keyless', finding: /of_keyless.*keyless/, hint: 'engine truncate' },
    { table: 'indexed', finding: /broken/, hint: 'engine merge' },
  ])('of a swap of $table is refused by name, and the hint names the engine that can', async ({ table, ...told }) => {
    const { details, hint } = await refusal(planned([table], 'swap'))
    expect(details).toEqual([expect.stringMatching(told.finding)])
    expect(hint).toContain(told.hint)
  })

  test('is left to choose: merge for what a swap cannot carry, truncate without a key, the finding as its reason', async () => {
    const merge = await planned(['free', 'typed'], 'auto')
    expect(merge).toMatchObject({ engine: 'merge', reason: expect.stringMatching(/of_typed.*typed/) })
    expect(merge.remade).toEqual(['materialized view public.m'])
    expect(merge.outside_foreign_keys).toEqual(['from_down of public.down'])
    const truncate = await planned(['typed', 'keyless'], 'auto')
    expect(truncate).toMatchObject({ engine: 'truncate', reason: expect.stringMatching(/of_(typed|keyless)/) })
    expect(truncate.notices).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^no swap: .*of_(typed|keyless)/),
        'no merge: table public.keyless has no primary key',
      ]),
    )
    expect((await planned(['free'], 'auto')).engine).toBe('swap')
    expect((await refusal(planned(['free', 'indexed'], 'auto'))).details).toEqual([expect.stringMatching(/broken/)])
  })

  test.each(['merge', 'truncate'] as const)('by %s goes on over an invalid index when asked for', async (engine) => {
    expect(await planned(['indexed'], engine)).toMatchObject({ engine, reason: 'it was asked for' })
  })

  test.each(['auto', 'swap', 'merge', 'truncate'] as const)(
    "of an extension's table is refused for %s: no backup would hold it",
    async (engine) => {
      const { code, details } = await refusal(planned(['extended'], engine))
      expect(code).toBe('unsupported-object')
      expect(details).toEqual(['table public.extended belongs to the extension citext'])
    },
  )
})
