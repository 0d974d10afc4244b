import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { readCatalogMark, watchCatalog } from '../src/postgres/catalog-mark.ts'
import { prepareDependencyPrint, readDependencyLines } from '../src/postgres/dependency-print.ts'
import { prepareFingerprint, readFingerprint, readFingerprintLines } from '../src/postgres/fingerprint.ts'
import { findLeaks, findOutwardLeaks } from '../src/postgres/leak-check.ts'
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
