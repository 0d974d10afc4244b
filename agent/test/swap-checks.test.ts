import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { readCatalogMark, watchCatalog } from '../src/postgres/catalog-mark.ts'
import { prepareDependencyPrint, readDependencyLines } from '../src/postgres/dependency-print.ts'
import { prepareFingerprint, readFingerprint, readFingerprintLines } from '../src/postgres/fingerprint.ts'
import { findLeaks, findOutwardLeaks, prepareLeakCheck, prepareLeakSuspicion } from '../src/postgres/leak-check.ts'
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

  test('D16: a prepared check sees what the same transaction did', async () => {
    const check = await prepareLeakCheck(session, ['apart'])
    expect(await trying('create view live.x as select n from apart.a', check.read)).not.toEqual([])
    expect(await check.read()).toEqual([])
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

describe('A scoped fingerprint', () => {
  const ofA = { schemas: ['apart'], relations: [{ schema: 'apart', name: 'a' }] }
  /** A twin of apart.a under its name, made while the first is aside. */
  const twin = `alter table apart.a set schema multiboard_sync_x;
    alter statistics apart.s set schema multiboard_sync_x;
    create table apart.a (id serial primary key, n apart.positive, kind apart.kind, code text unique deferrable, long text,
      self int references apart.a, check (n < 9));
    create index a_n on apart.a (n) where n > 1;
    create statistics apart.s on n, code from apart.a;
    create trigger t before insert on apart.a for each row execute function apart.trigger();
    create constraint trigger ct after insert on apart.a from apart.b for each row execute function apart.trigger();
    comment on table apart.a is 'a';`

  test('D5: of one table holds its columns, indexes, sequence, constraints, triggers and statistics, and nothing else', async () => {
    const lines = await readFingerprintLines(session, { within: ofA })
    const names = new Set(lines.map((line) => (JSON.parse(line) as string[]).slice(0, 3).join(' ')))
    expect([...names].map((name) => name.replace(/ apart a$/, ''))).toEqual([
      'column',
      'column-order',
      'constraint',
      'index apart a_code_key',
      'index apart a_n',
      'index apart a_pkey',
      'relation',
      'relation apart a_id_seq',
      'sequence apart a_id_seq',
      'statistics apart s',
      'trigger',
    ])
    expect((await readFingerprint(session, { within: ofA })).lines).toBe(lines.length)
  })

  test('D5: is the same for a twin under the same name, and not for one that lacks something', async () => {
    const before = await readFingerprint(session, { within: ofA })
    const read = async () => await readFingerprint(session, { within: ofA })
    await session.run('create schema multiboard_sync_x')
    try {
      expect(await trying(twin, read)).toEqual(before)
      for (const change of [
        'drop index apart.a_n',
        'alter table apart.a drop constraint a_n_check',
        'comment on table apart.a is null',
        'alter table apart.a disable trigger ct',
        'alter sequence apart.a_id_seq increment 2',
        'drop statistics apart.s',
        'grant select on apart.a to public',
      ]) {
        expect(await trying(`${twin} ${change}`, read), change).not.toEqual(before)
      }
    } finally {
      await session.run('drop schema multiboard_sync_x')
    }
  })

  test('D5: does not change with another table, and works in schemas of our own', async () => {
    const before = await readFingerprint(session, { within: ofA })
    const read = async () => await readFingerprint(session, { within: ofA })
    expect(await trying('alter table apart.b add x int; create table live.x ()', read)).toEqual(before)
    const ours = { within: { schemas: ['multiboard_sync_x'] } }
    const sql = 'create schema multiboard_sync_x; create table multiboard_sync_x.t (id int primary key)'
    const lines = await trying(sql, async () => await readFingerprintLines(session, ours))
    expect(lines.map((line) => (JSON.parse(line) as string[]).slice(0, 3).join(' '))).toEqual(
      expect.arrayContaining(['relation multiboard_sync_x t', 'index multiboard_sync_x t_pkey']),
    )
    expect(lines.join('\n')).not.toContain('apart')
    expect((await readFingerprint(session, ours)).lines).toBe(0)
  })

  test.each([
    ['the whole database', undefined],
    ['one table', { schemas: ['apart'], relations: [{ schema: 'apart', name: 'b' }] }],
  ])('Foreign keys of %s can be facts with or without being validated, or not at all', async (_, within) => {
    const notValid = `alter table apart.b drop constraint b_a_fkey,
      add constraint b_a_fkey foreign key (a) references apart.a not valid`
    const none = 'alter table apart.b drop constraint b_a_fkey'
    const read = async (keys: 'all' | 'unvalidated' | 'none') =>
      (await readFingerprint(session, { keys, ...(within && { within }) })).sha256
    const prints = async () => [await read('all'), await read('unvalidated'), await read('none')]
    const [all, unvalidated, without] = await prints()
    const later = await trying(notValid, prints)
    expect(later).toEqual([expect.not.stringMatching(all ?? ''), unvalidated, without])
    const gone = await trying(none, prints)
    expect(gone).toEqual([expect.not.stringMatching(all ?? ''), expect.not.stringMatching(unvalidated ?? ''), without])
  })

  test('A prepared fingerprint is the one that is read, also after others were read, and plans nothing again', async () => {
    const whole = await prepareFingerprint(session)
    const one = await prepareFingerprint(session, { within: ofA })
    await readFingerprint(session, { within: { schemas: ['live'] } })
    expect(await whole.read()).toEqual(await readFingerprint(session))
    expect(await one.read()).toEqual(await readFingerprint(session, { within: ofA }))
    expect(await trying('alter table apart.a add x int', one.read)).not.toEqual(await one.read())
    if (major < 14) return
    const plans = await session.query('select name from pg_prepared_statements where custom_plans > 0')
    expect(plans).toEqual([])
  })
})

describe('The catalogue mark', () => {
  test.each([
    ['a table', 'create table live.x ()'],
    ['a column', 'alter table live.o add x int'],
    ['a default', 'alter table live.o alter n set default 1'],
    ['a constraint', 'alter table live.o add check (n > 0)'],
    ['an index', 'create index on live.o (n)'],
    ['a trigger state', 'alter table apart.a disable trigger t'],
    ['row security', 'alter table live.o enable row level security'],
    ['a policy', 'create policy p on live.o using (true)'],
    ['a view', 'create or replace view live.w as select id from live.o'],
    ['an option', 'alter table live.o set (fillfactor = 50)'],
    ['a privilege', 'grant select on live.o to public'],
    ['an owner', 'alter table live.o owner to pg_monitor'],
    ['a comment', `comment on column live.o.n is 'n'`],
    ['a function', `create or replace function live.trigger() returns trigger language plpgsql as 'begin end'`],
    ['a type', `alter type apart.kind rename value 'a' to 'b'`],
    ['a sequence', 'alter sequence live.o_id_seq owned by none'],
    ['a schema', 'create schema x'],
    ['a publication', 'create publication p for table live.o'],
    ['an extension', 'create extension hstore schema live'],
    ['a statistics object', 'create statistics live.s on id, n from live.o'],
    ['default privileges', 'alter default privileges in schema live grant select on tables to public'],
    ['a child', 'create table live.c () inherits (live.o)'],
  ])('D5: changes with %s', async (_, change) => {
    const before = await readCatalogMark(session)
    const watch = await watchCatalog(session)
    await trying(change, async () => {
      expect(await readCatalogMark(session)).not.toBe(before)
      expect(await watch.quick.read()).not.toBe(watch.before)
      expect(await watch.hasChanged()).toBe(true)
    })
    expect(await readCatalogMark(session)).toBe(before)
    expect(await watch.quick.read()).toBe(watch.before)
  })

  test('D5: does not change with rows, statistics, vacuums, truncates, refreshes and temporary tables', async () => {
    await using own = await createDatabase({ sql: schema })
    await using reader = await open(own)
    const before = await readCatalogMark(reader)
    const watch = await watchCatalog(reader)
    const client = await own.client()
    await client.query(`create temporary table x (id serial primary key, n int check (n > 0) default 3, l text);
      create temporary view y as select * from x; create index on x (n); insert into x values (1)`)
    await client.query(`insert into live.o (n) select generate_series(3, 500); select setval('live.o_id_seq', 900)`)
    await client.query('truncate live.k; truncate apart.b restart identity; refresh materialized view live.m')
    await client.query('analyze')
    await client.query('vacuum live.o')
    await client.query('vacuum full live.o')
    expect(await readCatalogMark(reader)).toBe(before)
    expect(await watch.hasChanged()).toBe(false)
  })
})

describe('The dependency print', () => {
  const move = `alter table live.o set schema multiboard_sync_x; create table live.o
    (id serial primary key, n int, a int, unique (n) deferrable, exclude (a with =) deferrable);`
  const remade = `${move} create or replace view live.v as select id from live.o;
    drop materialized view live.m; create materialized view live.m as select id from live.o;
    alter table live.k drop constraint k_id_fkey, add constraint k_id_fkey foreign key (id) references live.o not valid;`

  test('D16: is the same after everything was made again, and another where something still points to what was moved', async () => {
    await session.run('create schema multiboard_sync_x')
    try {
      const print = await prepareDependencyPrint(session)
      const before = await print.read()
      const touched = ['o', 'v', 'm', 'k'].map((name) => ({ schema: 'live', name }))
      const part = await prepareDependencyPrint(session, touched)
      const partBefore = await part.read()
      const lines = await readDependencyLines(session)
      expect(before).toMatch(new RegExp(`^[0-9a-f]{64} ${lines.length}$`))
      const differences = async () => {
        const now = await readDependencyLines(session)
        return [...lines.filter((line) => !now.includes(line)), ...now.filter((line) => !lines.includes(line))]
      }
      expect(await trying(remade, differences)).toEqual([])
      expect(await trying(remade, print.read)).toBe(before)
      expect(await trying(move, print.read)).not.toBe(before)
      const partLines = await readDependencyLines(session, touched)
      expect(lines).toEqual(expect.arrayContaining(partLines))
      expect(lines.filter((line) => / live\.[ovmk]\b/.test(line) && !partLines.includes(line))).toEqual([])
      expect(await trying(remade, part.read)).toBe(partBefore)
      expect(await trying(move, part.read)).not.toBe(partBefore)
      // A default on a sequence that stayed behind has the same text in no place but this one.
      const behind = `${remade} alter table live.k alter id set default nextval('multiboard_sync_x.o_id_seq')`
      expect((await trying(behind, differences)).join()).toContain('multiboard_sync_x.o_id_seq')
      expect(await trying(behind, part.read)).not.toBe(partBefore)
      expect(await trying('create temporary table x (id serial primary key, r live.k)', differences)).toEqual([])
      expect(await trying('create table multiboard_sync_x.t (id int references live.o)', differences)).toEqual([])
    } finally {
      await session.run('drop schema multiboard_sync_x')
    }
  })
})

test('A role without any rights reads every check, and the same as a superuser', async () => {
  const role = `plain_${process.pid}`
  const checks = async () => [
    await readCatalogMark(session),
    await (await prepareDependencyPrint(session)).read(),
    await findLeaks(session, ['apart']),
    await findOutwardLeaks(session, ['apart']),
    (await readFingerprint(session, { keys: 'unvalidated' })).sha256,
  ]
  await session.run(`create role ${role}`)
  try {
    expect(await trying(`set local role ${role}`, checks)).toEqual(await checks())
  } finally {
    await session.run(`drop role ${role}`)
  }
})
