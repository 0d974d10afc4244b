import { randomBytes } from 'node:crypto'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, describe, expect, it } from 'vitest'
import { readTables } from '../src/postgres/catalog.ts'
import { dumpDefinitions } from '../src/postgres/dump-source.ts'
import type { Target } from '../src/postgres/open-target.ts'
import { quoteIdent, quoteTable } from '../src/postgres/quote.ts'
import { readSwapSet } from '../src/postgres/swap-set/read-swap-set.ts'
import { schemasOf } from '../src/postgres/swap-set/swap-set.ts'
import { asideOf, dropAside, inAside, readAsides } from '../src/restore/stage/aside.ts'
import { makeStage } from '../src/restore/stage/make-stage.ts'
import { archiveOf, deadline, fill, open, prove, readLive, setOf, telling, type Told } from './stage/try-stage.ts'

const JOB = 'j4k7q2m9xw1ab'
const suffix = randomBytes(4).toString('hex')
const [owner, agent] = [`small_owner_${suffix}`, `small_agent_${suffix}`]

afterAll(async () => {
  await using other = await createDatabase()
  const client = await other.client()
  for (const role of [owner, agent]) await client.query(`drop role if exists ${role}`)
})

describe('a stage that cannot be made', () => {
  const TABLES = `create table public.a (id int primary key, x int); create table public.b (id serial primary key);
    create view public.v as select * from public.a; insert into public.a values (1, 1)`

  async function fail(opened: Target, run: Told['run']) {
    const failed = await setOf(opened.session)
    const aside = asideOf('stage', JOB, schemasOf(failed))
    const live = await readLive(opened.session, failed)
    const error: unknown = await makeStage(opened, failed, aside, run).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    return { error, live, failed, aside }
  }

  it('test 12: is refused when a migration comes between its dump and its making; nothing is changed', async () => {
    await using migrated = await createDatabase({ sql: TABLES })
    await using opened = await open(migrated.url)
    const client = await migrated.client()
    // A writer, for whom pg_dump does not wait and the stage does; then it is the migration.
    await client.query('begin; insert into public.a values (2, 2)')
    const { run, events } = telling(20)
    const migration = { done: undefined as Promise<unknown> | undefined }
    const reporter = { ...run.reporter }
    reporter.event = (type, data) => {
      run.reporter.event(type, data)
      if (type === 'lock.waiting') migration.done ??= client.query('alter table public.a add y int; commit')
    }
    const { error, failed, aside, live } = await fail(opened, { ...run, reporter })
    await migration.done
    expect(events.map(({ type }) => type)).toContain('lock.waiting')
    expect(error).toMatchObject({ code: 'schema-changed' })
    expect((error as { details: string[] }).details).toContain('was: column public a y')
    await dropAside(opened.session, aside)
    expect(await readAsides(opened.session)).toEqual([])
    expect((await readLive(opened.session, failed)).oids).toEqual(live.oids)
  })

  it('leaves the live tables as they were when others hold them, or an event trigger forbids', async () => {
    await using busy = await createDatabase({ sql: TABLES })
    await using opened = await open(busy.url)
    const client = await busy.client()
    await client.query('begin; select from public.b')
    const { error, failed, aside, live } = await fail(opened, telling(2).run)
    expect(error).toMatchObject({ code: 'lock-timeout' })
    expect(await readLive(opened.session, failed)).toEqual(live)
    await dropAside(opened.session, aside)
    await client.query(`rollback;
      create function public.forbid() returns event_trigger language plpgsql as $$ begin
        if exists (select from pg_event_trigger_ddl_commands() where object_identity = 'public.b') then raise exception 'no'; end if;
      end $$;
      create event trigger forbid on ddl_command_end when tag in ('CREATE TABLE') execute function public.forbid()`)
    const vetoed = await fail(opened, telling().run)
    expect(vetoed.error).toMatchObject({
      code: 'query-failed',
      message: expect.stringContaining('Making table public.b failed'),
    })
    expect(await readLive(opened.session, failed)).toEqual(vetoed.live)
    await dropAside(opened.session, vetoed.aside)
    expect(await readAsides(opened.session)).toEqual([])
  })
})

describe('a small stage', () => {
  it('D14: is made in one transaction when a name in the dump could belong to two of its tables', async () => {
    await using small = await createDatabase({
      sql: `create table public."a" (id int constraint "b c" unique); create table public."a b" (id int constraint c unique)`,
    })
    await using opened = await open(small.url)
    const ambiguous = await setOf(opened.session)
    expect(new Set(ambiguous.members.map(({ component }) => component)).size).toBe(2)
    const { run, events } = telling()
    await makeStage(opened, ambiguous, asideOf('stage', JOB, ['public']), run)
    expect(events.find(({ type }) => type === 'stage.made')?.data).toMatchObject({ tables: 2, transactions: 1 })
  })

  it('D11, D12, test 15: is made and proven by an owner that is no superuser, under FORCE ROW LEVEL SECURITY', async () => {
    await using small = await createDatabase({
      sql: `create role ${agent} login password 'pw'; create role ${owner}; grant ${owner} to ${agent};
        grant create on schema public to ${agent}, ${owner};
        create table public.mine (id serial primary key, x int); alter table public.mine owner to ${agent};
        create table public.theirs (id int primary key references public.mine); alter table public.theirs owner to ${owner};
        alter table public.mine enable row level security, force row level security;
        create policy half on public.mine using (x > 1); insert into public.mine (x) values (1), (2), (3);
        insert into public.theirs values (1), (3); create index on public.mine (x);
        create materialized view public.seen as select count(*)::int as n from public.mine;
        alter materialized view public.seen owner to ${agent}`,
    })
    const client = await small.client()
    await client.query(`grant create on database ${quoteIdent(small.name)} to ${agent}`)
    await using superuser = await open(small.url)
    const source = await archiveOf(superuser.session, await setOf(superuser.session))
    const text = await dumpDefinitions(superuser.database, deadline())
    await superuser.session.close()
    const url = new URL(small.url)
    url.username = agent
    url.password = 'pw'
    await using opened = await open(url.href)
    const all = (await readTables(opened.session)).filter(({ kind }) => kind === 'r')
    const mine = await readSwapSet(
      opened.session,
      all.map(({ oid }) => oid),
    )
    const aside = asideOf('stage', JOB, ['public'])
    const { run } = telling()
    const made = await makeStage(opened, mine, aside, run)
    const { prepared, found } = await fill(opened, made, source, { ...run, sequences: text })
    const { tables } = source
    expect((await prove(opened, prepared, { tables, found }, run)).map(({ rows_found }) => rows_found)).toEqual([3, 2])
    const { rows } = await client.query(
      `select s.n, pg_get_userbyid(c.relowner) as owner, c.relforcerowsecurity as force
       from multiboard_sync_stage_${JOB}_1.seen s, pg_class c where c.oid = 'multiboard_sync_stage_${JOB}_1.mine'::regclass`,
    )
    expect(rows).toEqual([{ n: 2, owner: agent, force: true }])
  })

  it('is refused by name when rows are not those of the archive, or would break a foreign key to outside', async () => {
    await using small = await createDatabase({
      sql: `create table public.o (id int primary key); create table public.a (id int primary key, o_id int constraint a_o references public.o);
        insert into public.o values (1); insert into public.a values (1, 1)`,
    })
    await using opened = await open(small.url)
    const { session } = opened
    const some = await setOf(session, ['public.o'])
    const source = await archiveOf(session, some)
    const { tables } = source
    const aside = asideOf('stage', JOB, ['public'])
    const { run } = telling()
    const { prepared, found } = await fill(opened, await makeStage(opened, some, aside, run), source, run)
    const wrong = tables.map((table) => ({ ...table, rows: 2 }))
    await expect(prove(opened, prepared, { tables: wrong, found }, run)).rejects.toMatchObject({
      code: 'proof-failed',
      details: ['public.a: 2 rows expected, 1 found'],
    })
    await session.run(`update ${quoteTable(inAside(aside, { schema: 'public', name: 'a' }))} set id = id`)
    await session.run('update public.a set o_id = null; delete from public.o')
    await expect(prove(opened, prepared, { tables, found }, run)).rejects.toMatchObject({
      code: 'constraint-violated',
      details: ['public.a "a_o"'],
    })
  })
})
