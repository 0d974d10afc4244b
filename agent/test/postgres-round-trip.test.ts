import { basename } from 'node:path'
import { loadSample, sampleFiles } from '@multiboard-sync/shared/testing/load-sample'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, expect, inject, test } from 'vitest'
import { splitEntries } from '../src/postgres/dump-entries.ts'
import { dumpSchema } from '../src/postgres/dump-schema.ts'
import { readFingerprint, readFingerprintLines } from '../src/postgres/fingerprint.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { richSchema } from './postgres-rich-schema.ts'

const { signal } = new AbortController()
const named = ({ url }: TestDatabase) => ({ name: 'production', url, viaProxy: false })
const sections = ['pre-data', 'post-data']

async function open(database: TestDatabase): Promise<Session> {
  return await openSession(named(database), { purpose: 'test', signal })
}

async function dump(database: TestDatabase, ...args: string[]): Promise<string[]> {
  const texts: string[] = []
  for (const section of sections) {
    texts.push(await dumpSchema(named(database), { args: [`--section=${section}`, ...args], signal }))
  }
  return texts
}

/** Runs every entry alone, in one transaction, after the settings that the dump had in force for it. */
async function replay(texts: string[], into: TestDatabase): Promise<void> {
  await using session = await open(into)
  await session.run('begin')
  let settings = ''
  for (const entry of texts.flatMap((text) => splitEntries(text).entries)) {
    if (entry.settings !== settings) await session.run(entry.settings)
    settings = entry.settings
    await session.run(entry.sql)
  }
  await session.run('commit')
}

async function copyOf(database: TestDatabase, ...args: string[]): Promise<TestDatabase> {
  const copy = await createDatabase()
  try {
    await replay(await dump(database, ...args), copy)
    return copy
  } catch (error) {
    await copy[Symbol.asyncDispose]()
    throw error
  }
}

/** What each side has alone: of equal fingerprints nothing. */
async function differences(a: TestDatabase, b: TestDatabase, options = {}): Promise<string[]> {
  await using one = await open(a)
  await using other = await open(b)
  const [left, right] = [await readFingerprintLines(one, options), await readFingerprintLines(other, options)]
  const only = (lines: string[], others: string[], sign: string) => {
    const known = new Set(others)
    return lines.filter((line) => !known.has(line)).map((line) => `${sign} ${line}`)
  }
  return [...only(left, right, '-'), ...only(right, left, '+')].toSorted((x, y) => (x.slice(2) < y.slice(2) ? -1 : 1))
}

async function hash(database: TestDatabase, options = {}): Promise<string> {
  await using session = await open(database)
  return (await readFingerprint(session, options)).sha256
}

test('A rich schema survives dump, replay and dump again, with the same fingerprint', async () => {
  await using source = await createDatabase({ sql: richSchema(inject('postgres').major) })
  await using copy = await copyOf(source)
  expect(await differences(source, copy)).toEqual([])
  expect(await hash(copy)).toBe(await hash(source))
  expect(await dump(copy)).toEqual(await dump(source))
})

test('Without owners and privileges a copy made by --no-owner --no-privileges is the same, with them it is not', async () => {
  await using source = await createDatabase({ sql: richSchema(inject('postgres').major) })
  await using copy = await copyOf(source, '--no-owner', '--no-privileges')
  expect(await differences(source, copy, { owners: false })).toEqual([])
  const kinds = (await differences(source, copy)).map((line) => (JSON.parse(line.slice(2)) as string[])[0])
  expect(new Set(kinds)).toEqual(new Set(['column', 'default-privileges', 'function', 'relation', 'schema']))
})

const base = `
  create schema s;
  create type s.kind as enum ('a', 'b');
  create table s.p (id int primary key, name varchar(9) check (name in ('x', 'y''z')), kind s.kind default 'a');
  create table s.c (id int references s.p, n int);
  create index p_name on s.p (name) where name in ('x', 'y');
  create view s.v as select id from s.p where name not in ('x', 'y');
  create materialized view s.m as select id from s.p;
  create function s.f() returns trigger language plpgsql as 'begin return new; end';
  create trigger t before insert on s.c for each row execute function s.f();
  create sequence s.q;
  create policy r on s.c using (true);
  create domain s.d as int check (value > 0);
  insert into s.p values (1, 'x');`

let sharedDatabase: Promise<TestDatabase> | undefined
/** For tests that roll back what they do. */
async function shared(): Promise<TestDatabase> {
  return await (sharedDatabase ??= createDatabase({ sql: base }))
}
afterAll(async () => await (await sharedDatabase)?.[Symbol.asyncDispose]())

test.each([
  ['a column renamed', 'alter table s.c rename n to m'],
  ['a column of another type', 'alter table s.c alter n type bigint'],
  ['a column that may not be null', 'alter table s.c alter n set not null'],
  ['another default', `alter table s.p alter kind set default 'b'`],
  ['another storage', 'alter table s.p alter name set storage external'],
  ['another statistics target', 'alter table s.c alter n set statistics 7'],
  ['a label more', `alter type s.kind add value 'c'`],
  ['labels in another order', `alter type s.kind rename value 'a' to 'z'`],
  ['a constraint not valid', 'alter table s.c add check (n > 0) not valid'],
  ['a foreign key gone', 'alter table s.c drop constraint c_id_fkey'],
  [
    'an action of a foreign key',
    'alter table s.c drop constraint c_id_fkey, add constraint c_id_fkey foreign key (id) references s.p on delete cascade',
  ],
  ['an index gone', 'drop index s.p_name'],
  ['a predicate of an index', `drop index s.p_name; create index p_name on s.p (name) where name in ('x', 'z')`],
  ['a trigger disabled', 'alter table s.c disable trigger t'],
  ['row security', 'alter table s.c enable row level security'],
  ['forced row security', 'alter table s.c force row level security'],
  ['a policy', 'alter policy r on s.c using (false)'],
  ['a view', `create or replace view s.v as select id from s.p`],
  ['an option of a view', `alter view s.v set (security_barrier = true)`],
  [
    'a body of a function',
    `create or replace function s.f() returns trigger language plpgsql as 'begin  return new; end'`,
  ],
  ['a sequence', 'alter sequence s.q increment 2'],
  ['an owner of a sequence', 'alter sequence s.q owned by s.c.n'],
  ['a storage parameter', 'alter table s.c set (fillfactor = 50)'],
  ['a replica identity', 'alter table s.c replica identity full'],
  ['a cluster mark', 'alter table s.p cluster on p_pkey'],
  ['persistence', 'alter table s.c set unlogged'],
  ['a comment', `comment on column s.c.n is 'n'`],
  ['a privilege', 'grant select on s.c to public'],
  ['a privilege on a column', 'grant select (n) on s.c to public'],
  ['a check of a domain', 'alter domain s.d drop constraint d_check'],
  ['an owner', 'alter table s.c owner to pg_monitor'],
  ['a publication', 'create publication pub for table s.c'],
  ['default privileges', 'alter default privileges in schema s grant select on tables to public'],
  ['an extension', 'create extension hstore schema s'],
  ['a child', 'create table s.k () inherits (s.c)'],
])('The fingerprint changes with %s, and comes back with it', async (_, change) => {
  await using session = await open(await shared())
  const before = await readFingerprint(session)
  await session.run(`begin; ${change}`)
  expect((await readFingerprint(session)).sha256).not.toBe(before.sha256)
  await session.run('rollback')
  expect(await readFingerprint(session)).toEqual(before)
})

test('The fingerprint does not change with rows, sequence values, statistics, refreshes, our own schema and rewritten files', async () => {
  await using database = await createDatabase({ sql: base })
  const before = await hash(database)
  const client = await database.client()
  await client.query(`insert into s.c values (1, 1); select nextval('s.q'); refresh materialized view s.m;
    create schema multiboard_sync; create table multiboard_sync.receipts (id int primary key check (id > 0));
    comment on table multiboard_sync.receipts is 'r'; create temporary table x (id int)`)
  await client.query('vacuum full s.p')
  await client.query('analyze')
  expect(await hash(database)).toBe(before)
})

test('Definitions that are dropped and made again from their own texts have the same fingerprint', async () => {
  await using database = await createDatabase({ sql: base })
  await using session = await open(database)
  const before = await readFingerprint(session)
  const texts = await session.query<{ drop: string; make: string }>(`
    select 'drop index s.p_name' as drop, pg_get_indexdef('s.p_name'::regclass) as make
    union all
    select format('alter table %s drop constraint %I', conrelid::regclass, conname),
           format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    from pg_constraint where connamespace = 's'::regnamespace and contype in ('c', 'f') and conrelid <> 0`)
  expect(texts).toHaveLength(3)
  for (const { drop, make } of texts) await session.run(`${drop}; ${make}`)
  expect(await readFingerprint(session)).toEqual(before)
})

test('Columns in another order are a fact of their own, and a dropped column is none', async () => {
  await using one = await createDatabase({
    sql: 'create table t (a int, gone int, b text); alter table t drop column gone',
  })
  await using other = await createDatabase({ sql: 'create table t (b text, a int)' })
  const found = await differences(one, other)
  expect(found.map((line) => (JSON.parse(line.slice(2)) as string[])[0])).toEqual(['column-order', 'column-order'])
  expect(await differences(one, other, { order: false })).toEqual([])
})

const samples = sampleFiles()?.files ?? []
if (samples.length === 0) console.log('The sample databases are not here: their round trips are skipped.')

test.each(samples.map((file) => [basename(file), file]))(
  'The schema of %s survives dump, replay and dump again, with the same fingerprint',
  async (_, file) => {
    await using source = await createDatabase()
    await loadSample(source.url, file)
    await using copy = await copyOf(source)
    expect(await differences(source, copy)).toEqual([])
    expect(await dump(copy)).toEqual(await dump(source))
  },
)
