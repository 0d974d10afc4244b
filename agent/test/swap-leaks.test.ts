import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { findLeaks, findOutwardLeaks, prepareLeakSuspicion } from '../src/postgres/leak-check.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { schema } from './swap-checks-schema.ts'

const { major } = inject('postgres')
const { signal } = new AbortController()

async function open({ url }: { url: string }): Promise<Session> {
  return await openSession({ name: 'staging', url, viaProxy: false }, { purpose: 'test', signal })
}

let database: TestDatabase
let session: Session
beforeAll(async () => {
  database = await createDatabase({ sql: schema })
  session = await open(database)
})
afterAll(async () => {
  await session.close()
  await database[Symbol.asyncDispose]()
})

/** Runs the work after the statements, and takes all of it back. */
async function trying<T>(sql: string, work: () => Promise<T>): Promise<T> {
  await session.run(`begin; ${sql}`)
  try {
    return await work()
  } finally {
    await session.run('rollback')
  }
}

/** Then nothing but parts of them points to the relations of apart. */
const quiet = 'drop function apart.f(apart.a)'

async function isApartSuspicious(): Promise<boolean> {
  const relations = await session.query<{ schema: string; name: string }>(
    `select 'apart' as schema, relname::text as name from pg_class
     where relnamespace = 'apart'::regnamespace and relkind in ('r', 'p', 'v', 'm')`,
  )
  return await (await prepareLeakSuspicion(session, relations)).read()
}

describe('The leak check', () => {
  test('D16: finds nothing where everything that points inside is inside', async () => {
    expect(await findLeaks(session, ['apart'])).toEqual([])
    expect(await findLeaks(session, ['live'])).toEqual([])
    expect(await findLeaks(session, ['apart', 'live'])).toEqual([])
    expect(await findOutwardLeaks(session, ['apart'])).toEqual([])
  })

  const since = (version: number, ...cases: [string, string, string][]) => (major >= version ? cases : [])
  test.each([
    [
      'R7: a constraint trigger',
      'create constraint trigger watch after insert on live.o from apart.a for each row execute function live.trigger()',
      'constraint trigger watch on live.o points to table apart.a',
    ],
    [
      'R4: a publication',
      'create publication p for table apart.a',
      'publication relation apart.a in publication p points to table apart.a',
    ],
    ...since(15, [
      'R4: a publication of the schema',
      'create publication p for tables in schema apart',
      'publication namespace apart in publication p points to schema apart',
    ]),
    [
      'R9: a subscription',
      `set local allow_system_table_mods = on;
       create subscription sub connection 'host=127.0.0.1 port=1' publication p with (connect = false);
       insert into pg_subscription_rel (srsubid, srrelid, srsubstate)
         select oid, 'apart.a'::regclass, 'r' from pg_subscription where subname = 'sub'`,
      'subscription sub points to table apart.a',
    ],
    [
      'R2: a foreign key to the outside',
      'alter table apart.a add foreign key (n) references live.o',
      'foreign key a_n_fkey of table apart.a points to table live.o',
    ],
    [
      'R2: a foreign key from the outside',
      'alter table live.o add foreign key (a) references apart.a not valid',
      'foreign key o_a_fkey of table live.o points to table apart.a',
    ],
    ['R3: a child', 'create table live.c () inherits (apart.b)', 'table live.c points to table apart.b'],
    [
      'R3: a partition',
      'create table live.part_2 partition of apart.part for values from (9) to (99)',
      'table live.part_2 points to table apart.part',
    ],
    ['R8: a statistics object', 'create statistics live.s on n, id from apart.a', 'statistics object live.s points to'],
    ['a view', 'create view live.x as select n from apart.a', 'view live.x points to table column apart.a.n'],
    ['a view of a view', 'create view live.x as select 1 from apart.v', 'view live.x points to view apart.v'],
    [
      'a materialized view',
      'create materialized view live.x as select n from apart.a',
      'materialized view live.x points to table column apart.a.n',
    ],
    ["somebody's temporary view", 'create temp view x as select n from apart.a', 'view pg_temp.x points to'],
    [
      'a rule',
      'create rule r as on update to live.o do also delete from apart.b',
      'rule r on live.o points to table apart.b',
    ],
    [
      'a policy',
      'create policy p on live.o using (exists (select from apart.b))',
      'policy p on live.o points to table apart.b',
    ],
    [
      'a default',
      `alter table live.o alter n set default nextval('apart.a_id_seq')`,
      'default value for live.o.n points to sequence apart.a_id_seq',
    ],
    [
      'a function that returns a row',
      `create function live.f() returns apart.a language sql as 'select null'`,
      'function live.f() points to type apart.a',
    ],
    ['a column of the row type', 'alter table live.o add r apart.a', 'table column live.o.r points to type apart.a'],
    [
      'a column of an array of it',
      'alter table live.o add r apart.a[]',
      'table column live.o.r points to type apart.a',
    ],
    ['a composite type', 'create type live.c as (r apart.a)', 'composite type column live.c.r points to type apart.a'],
    ['a domain', 'create domain live.d as apart.kind', 'type live.d points to type apart.kind'],
    [
      'a check',
      `alter table live.o add check (id is distinct from 7 or 'a'::apart.kind = 'a')`,
      'table constraint o_id_check on live.o points to type apart.kind',
    ],
    [
      'an owned sequence',
      'create sequence apart.q; alter table live.o add q int; alter sequence live.o_id_seq owned by none; drop view live.w; alter table live.o set schema apart; alter sequence live.o_id_seq set schema apart; alter sequence apart.q owned by apart.o.q',
      'view live.v points to table column apart.o.id',
    ],
    [
      'a trigger',
      'create trigger t before insert on live.o for each row execute function apart.trigger()',
      'trigger t on live.o points to function apart.trigger()',
    ],
    ...since(14, [
      'a function with a body that is parsed',
      'create function live.f() returns bigint begin atomic select count(*) from apart.a; end',
      'function live.f() points to table apart.a',
    ]),
  ])('D16: finds %s', async (_, sql, line) => {
    const found = await trying(sql, async () => await findLeaks(session, ['apart']))
    expect(found.join('\n').replaceAll(/pg_temp_\d+/g, 'pg_temp')).toContain(line)
    expect(await findLeaks(session, ['apart'])).toEqual([])
    // Schemas, functions and types that stand for themselves are no parts of relations.
    const isOfRelation = !/ points to (?:schema|function|type apart\.kind)/.test(line)
    expect(await trying(`${quiet}; ${sql}`, isApartSuspicious)).toBe(isOfRelation)
  })

  test('D16: suspects relations that others point to, and none that only their own parts do, or whatever there are event triggers', async () => {
    expect(await trying(quiet, isApartSuspicious)).toBe(false)
    // The function is no part of its table: whether that is a leak is for the whole check to say.
    expect(await trying('select', isApartSuspicious)).toBe(true)
    const functions = 'create function live.e() returns event_trigger language plpgsql as $$begin end$$'
    const trigger = 'create event trigger e on ddl_command_end execute function live.e()'
    expect(await trying(`${quiet}; ${functions}; ${trigger}`, isApartSuspicious)).toBe(true)
    expect(await trying(`${quiet}; ${functions}; ${trigger}; alter event trigger e disable`, isApartSuspicious)).toBe(
      false,
    )
  })

  test('one prepared suspicion is about what its read names, and costs nothing that is planned again', async () => {
    const [a, k] = [[{ schema: 'apart', name: 'a' }], [{ schema: 'live', name: 'k' }]]
    const [ofA, ofK] = [await prepareLeakSuspicion(session, a), await prepareLeakSuspicion(session, k)]
    expect(ofA.statements.at(-1)).toBe(ofK.statements.at(-1))
    // Other tables' keys lead to a, and k's leads to another.
    expect([await ofA.read(), await ofK.read(), await ofA.read()]).toEqual([true, true, true])
    const free = await prepareLeakSuspicion(session, [{ schema: 'apart', name: 'nobody' }])
    expect([await free.read(), await ofA.read(), await free.read()]).toEqual([false, true, false])
  })

  test('D16: does not mind texts of functions, statements, and what points out', async () => {
    const sql = `create function live.f() returns bigint language sql as 'select count(*) from apart.a';
      create view apart.x as select id from live.o; prepare p as select id from apart.a`
    expect(await trying(sql, async () => await findLeaks(session, ['apart']))).toEqual([])
    await session.run('deallocate p')
  })

  test('D16: a prepared suspicion sees what the same transaction did', async () => {
    const seen = await trying(quiet, async () => {
      const suspicion = await prepareLeakSuspicion(session, [{ schema: 'apart', name: 'm' }])
      const before = await suspicion.read()
      await session.run('create view live.x as select a from apart.m')
      return [before, await suspicion.read()]
    })
    expect(seen).toEqual([false, true])
  })

  test('D16: a name with quotes is a name', async () => {
    const name = `it's "a\\b`
    const sql = `create schema "it's ""a\\b"; create table "it's ""a\\b".t (); create view live.x as select from "it's ""a\\b".t`
    expect(await trying(sql, async () => await findLeaks(session, [name]))).toHaveLength(1)
  })

  test('D16: outward, what still reads the live tables is found, and what rightly points elsewhere can be left out', async () => {
    const sql = `create view apart.x as select id from live.v; create sequence live.shared; create schema multiboard_sync_x;
      create view apart.y as select o from live.o o;
      alter table apart.b alter a set default nextval('live.shared');
      alter table apart.b add foreign key (a) references live.k`
    const [all, some, none] = await trying(sql, async () => [
      await findOutwardLeaks(session, ['apart']),
      await findOutwardLeaks(session, ['apart'], [{ schema: 'live', name: 'o' }]),
      await findOutwardLeaks(session, ['apart'], [{ schema: 'live', name: 'm' }]),
    ])
    expect(all).toEqual([
      'default value for apart.b.a points to sequence live.shared',
      'foreign key b_a_fkey1 of table apart.b points to table live.k',
      'view apart.x points to view column live.v.id',
      'view apart.y points to table live.o',
      'view column apart.y.o points to type live.o',
    ])
    expect(some).toEqual(['view apart.y points to table live.o', 'view column apart.y.o points to type live.o'])
    expect(none).toEqual([])
  })
})
