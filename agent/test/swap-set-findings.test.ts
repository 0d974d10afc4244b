import { randomBytes } from 'node:crypto'
import { expect, inject, test } from 'vitest'
import type { Session } from '../src/postgres/session.ts'
import { readSwapSet } from '../src/postgres/swap-set/read-swap-set.ts'
import { findingsOf, membersOf, oidsOf, openSet, remadeOf } from './swap-set/open-set.ts'

const { major } = inject('postgres')

test('A materialized view whose rows come through a function of a user forbids the swap', async () => {
  await using run = await openSet(`
    create schema ext; create extension hstore schema ext;
    create table public.a (id int primary key, h ext.hstore);
    create table public.b (id int primary key);
    create function public.stable_one(int) returns int language sql stable as 'select $1';
    create function public.pure(int) returns int language sql immutable as 'select $1';
    create function public.hidden(int, int) returns bool language sql volatile as 'select true';
    create operator public.=== (leftarg = int, rightarg = int, function = public.hidden);
    create aggregate public.agg(int) (sfunc = int4pl, stype = int, initcond = 0);
    create view public.v as select id from public.a where public.stable_one(id) > 0;
    create materialized view public.m as select * from public.v;
    create materialized view public.fine as select public.pure(id), h operator(ext.->) 'x' as x from public.a;
    create materialized view public.op as select id from public.b where id operator(public.===) 3;
    ${major < 14 ? '' : atomicReader}`)
  const findings = findingsOf(await run.read('public.a', 'public.b'))
  const notImmutable = (what: string, f: string) =>
    `in-place: ${what} calls ${f}, which is not immutable and may read the live tables`
  expect(findings).toEqual([
    ...(major < 14 ? [] : ['in-place: materialized view public.through reads public.a through a function']),
    notImmutable('view public.v', 'public.stable_one(integer)'),
    notImmutable('materialized view public.op', 'public.hidden(integer,integer)'),
  ])
})

const atomicReader = `
  create view public.w as select id from public.a;
  create function public.counts() returns bigint language sql immutable begin atomic select count(*) from public.w; end;
  create function public.twice() returns bigint language sql immutable begin atomic select 2 * public.counts(); end;
  create materialized view public.through as select public.twice() as n;`

test('Whatever would keep the row type of the old table forbids the swap, and is named', async () => {
  await using run = await openSet(`
    create schema rt;
    create table rt.a (id int primary key, x text);
    create function rt.gives() returns setof rt.a language sql as 'select * from rt.a';
    create function rt.takes(rt.a) returns text language sql immutable as 'select $1.x';
    create function rt.takes_many(variadic rt.a[]) returns int language sql as 'select 1';
    create function rt.gives_out(out one rt.a, out n int) language sql as 'select null::rt.a, 1';
    create procedure rt.proc(inout one rt.a) language sql as 'select $1';
    create aggregate rt.last_of(rt.a) (sfunc = array_append, stype = rt.a[]);
    create table rt.col (id int, a rt.a, many rt.a[]);
    create type rt.composite as (a rt.a);
    create domain rt.dom as rt.a;
    create domain rt.doms as rt.a[] check (value[1].id > 0);
    create table rt.checked (x text, id int check (((row(id, x)::rt.a).id) > 0));
    create index on rt.checked (((row(id, x)::rt.a).x));
    create table rt.gen (id int, x text, y text generated always as ((row(id, x)::rt.a).x) stored);
    create cast (rt.a as text) with function rt.takes(rt.a);
    create operator rt.@@@ (rightarg = rt.a, function = rt.takes);
    create table rt.trig (id int, x text);
    create function rt.tf() returns trigger language plpgsql as 'begin return new; end';
    create trigger tr before insert on rt.trig for each row when ((row(new.id, new.x)::rt.a).id > 0) execute function rt.tf();
    create constraint trigger froma after insert on rt.trig from rt.a for each row execute function rt.tf();
    create table rt.parted (id int, x text) partition by list (((row(id, x)::rt.a).x));
    create table rt.named (r regclass check (r <> 'rt.a'::regclass));
    create foreign data wrapper fake; create server fake foreign data wrapper fake;
    create foreign table rt.far (a rt.a) server fake;
    ${major < 14 ? '' : 'create statistics rt.st on ((row(id, x)::rt.a).x), x from rt.checked;'}`)
  const set = await run.read('rt.a')
  expect(membersOf(set)).toEqual(['rt.a r 0'])
  expect(remadeOf(set)).toEqual([])
  const type = 'the row type of rt.a'
  expect(findingsOf(set).map((text) => text.replace('in-place: ', ''))).toEqual(
    [
      `aggregate rt.last_of(rt.a) returns ${type}`,
      `cast (rt.a AS pg_catalog.text) uses ${type}`,
      `${major < 14 ? 'table column' : 'default value for'} rt.gen.y uses ${type}`,
      'domain constraint doms_check on rt.doms names rt.a in an expression',
      ...(major < 14 ? [] : [`statistics object rt.st uses ${type}`]),
      `composite type column rt.composite.a uses ${type}`,
      `foreign table column rt.far.a uses ${type}`,
      `function rt.gives() returns ${type}`,
      `function rt.gives_out() returns ${type}`,
      `function rt.takes(rt.a) takes ${type}`,
      `function rt.takes_many(rt.a[]) takes ${type}`,
      `index rt.checked_x_idx uses ${type}`,
      `operator rt.@@@(NONE,rt.a) uses ${type}`,
      `procedure rt.proc(rt.a) takes ${type}`,
      `table column rt.col.a uses ${type}`,
      `table column rt.col.many uses ${type}`,
      `table constraint checked_check on rt.checked uses ${type}`,
      'table constraint named_r_check on rt.named names rt.a in an expression',
      `table rt.parted uses ${type}`,
      'trigger froma on rt.trig is a constraint trigger from rt.a',
      `trigger tr on rt.trig uses ${type}`,
      `type rt.dom uses ${type}`,
      `type rt.doms uses ${type}`,
    ].toSorted(),
  )
})

test('The row type of a view in the set forbids the swap as that of a table does', async () => {
  await using run = await openSet(`
    create table public.a (id int primary key, x text);
    create view public.v as select id from public.a;
    create materialized view public.m as select id from public.v;
    create view public.w as select m from public.m;
    create function public.one_m() returns public.m language plpgsql as 'begin return null; end';
    create table public.keeps (v public.v);`)
  const set = await run.read('public.a')
  expect(membersOf(set)).toEqual(['public.a r 0', 'public.v v 0', 'public.m m 0', 'public.w v 0'])
  expect(findingsOf(set)).toEqual([
    'in-place: function public.one_m() returns the row type of public.m',
    'in-place: table column public.keeps.v uses the row type of public.v',
  ])
})

test('R4, R9: publications, subscriptions, extensions and labels of the tables forbid the swap', async () => {
  await using run = await openSet(`
    create schema s;
    create table s.a (id serial primary key, x text); create table s.b (id int primary key); create table s.c (id int);
    create publication one_table for table s.a;
    create publication "not Ours" for table s.c;
    create subscription from_far connection 'dbname=nowhere' publication x with (connect = false);
    insert into pg_subscription_rel (srsubid, srrelid, srsubstate) select oid, 's.b'::regclass, 'r' from pg_subscription;
    insert into pg_seclabel values ('s.b'::regclass, 'pg_class'::regclass, 1, 'fake', 'secret');
    create extension hstore;
    alter extension hstore add table s.b;
    create unique index broken on s.a (x);
    update pg_index set indisvalid = false where indexrelid = 's.broken'::regclass;`)
  expect(findingsOf(await run.read('s.a', 's.b'))).toEqual([
    'refused: s.b belongs to extension hstore',
    'refused: index broken of s.a is invalid; REINDEX or DROP it',
    'in-place: publication one_table publishes s.a',
    'refused: s.b has a security label',
    'refused: subscription from_far writes s.b',
  ])
  await run.client.query(`delete from pg_seclabel; create publication every for all tables`)
  if (major >= 15) await run.client.query('create publication schemas for tables in schema s')
  expect(findingsOf(await run.read('s.c'))).toEqual([
    'refused: publication every publishes all tables',
    ...(major < 15 ? [] : ['in-place: publication schemas publishes all tables of the schema of s.c']),
    'in-place: publication not Ours publishes s.c',
  ])
  await run.client.query(`alter subscription from_far set (slot_name = none); drop subscription from_far`)
})

test('R7: constraint triggers between a member and another table forbid the swap; between members they do not', async () => {
  await using run = await openSet(`
    create table public.a (id int primary key); create table public.o (id int primary key references public.a);
    create function public.tf() returns trigger language plpgsql as 'begin return new; end';
    create constraint trigger to_a after insert on public.o from public.a for each row execute function public.tf();`)
  expect(findingsOf(await run.read('public.a'))).toEqual([
    'in-place: trigger to_a on public.o is a constraint trigger from public.a',
  ])
  expect(findingsOf(await run.read('public.o'))).toEqual([
    'in-place: trigger to_a of public.o is a constraint trigger from a table that is not replaced',
  ])
  const both = await run.read('public.a', 'public.o')
  expect(findingsOf(both)).toEqual([])
  expect(membersOf(both)).toEqual(['public.a r 0', 'public.o r 0'])
})

test('D13: a temporary view of another session refuses the swap and names the session', async () => {
  await using set = await openSet(`create table public.a (id serial primary key, x text);`)
  const other = await set.database.client()
  await other.query(`create temporary view tv as select id from public.a;
    create temporary table tt (id int default nextval('public.a_id_seq'), r public.a)`)
  const body = 'begin atomic select count(*) from public.a; end'
  if (major >= 14) await other.query(`create function pg_temp.f() returns bigint language sql ${body}`)
  // Before 16 a session can be named while it is in a transaction.
  await other.query('begin; select 1 from public.a')
  const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid')
  const { findings, remade, members } = await set.read('public.a')
  const texts = findings.map(({ effect, text }) => `${effect}: ${text.replace(/pg_temp_\d+/, 'pg_temp')}`)
  const kinds = [...(major < 14 ? [] : ['function pg_temp.f()']), 'table tt', 'view tv']
  const holds = `refused: session ${rows[0]?.pid} holds the temporary`
  expect(texts.toSorted()).toEqual(kinds.map((kind) => `${holds} ${kind}, which depends on public.a`))
  expect([remade.length, members.length]).toEqual([0, 1])
  await other.query('rollback; drop view tv; drop table tt')
  if (major >= 14) await other.query('drop function pg_temp.f()')
  expect(findingsOf(await set.read('public.a'))).toEqual([])
})

test('A role that is no superuser may not swap what it cannot see whole, nor privileges that others have granted', async () => {
  const [owner, grantee] = [`owner_${unique()}`, `grantee_${unique()}`]
  await using set = await openSet(`
    create role ${owner} login password 'x'; create role ${grantee};
    create schema s; grant usage on schema s to ${owner}, ${grantee};
    create table s.a (id serial primary key, x text); alter table s.a owner to ${owner};
    create table s.b (id int); alter table s.b owner to ${owner};
    alter table s.a enable row level security, force row level security;
    grant select on s.b to ${grantee} with grant option; set role ${grantee}; grant select on s.b to public; reset role;
    alter table s.b enable row level security;`)
  try {
    expect(findingsOf(await set.read('s.a', 's.b'))).toEqual([])
    await set.session.run(`set role ${owner}`)
    expect(findingsOf(await set.read('s.a', 's.b'))).toEqual([
      `in-place: a privilege on s.b was granted by ${grantee}, who does not own it`,
      `refused: row security of s.a applies to the agent's role, which would see a part of its rows only`,
    ])
    await set.session.run('reset role')
  } finally {
    await set.client.query(`drop owned by ${owner}, ${grantee} cascade; drop role ${owner}, ${grantee}`)
  }
})

test('Tables kept for an undo are no dependants, and a dependant of an extension forbids the swap', async () => {
  await using set = await openSet(`
    create table public.a (id int primary key);
    create schema multiboard_sync_prev_x_1;
    create table multiboard_sync_prev_x_1.b (id int references public.a);
    create materialized view multiboard_sync_prev_x_1.m as select * from public.a;
    create rule r as on insert to multiboard_sync_prev_x_1.b do also delete from public.a;`)
  const clean = await set.read('public.a')
  expect([membersOf(clean), remadeOf(clean), clean.keys, findingsOf(clean)]).toEqual([['public.a r 0'], [], [], []])
  await set.client.query(
    `create view public.v as select id from public.a; create extension hstore; alter extension hstore add view public.v`,
  )
  expect(findingsOf(await set.read('public.a'))).toEqual([
    'in-place: view public.v of extension hstore depends on public.a',
  ])
})

test('A set of many tables is read in few queries', async () => {
  await using set = await openSet(`
    do $$ begin for n in 1..100 loop
      execute format('create table public.t%1$s (id serial primary key, x text unique, up int references public.t%2$s, check (x <> ''''))', n, greatest(1, n - 1));
      execute format('create view public.v%1$s as select id from public.t%1$s', n);
    end loop; end $$`)
  const tables = Array.from({ length: 100 }, (_, n) => `public.t${n + 1}`)
  const oids = await oidsOf(set.session, tables)
  let queries = 0
  const counted: Session = {
    ...set.session,
    query: async (sql, values) => {
      queries += 1
      return await set.session.query(sql, values)
    },
  }
  const found = await readSwapSet(counted, oids)
  expect([found.members.length, found.keys.length, found.remade.length, found.findings.length]).toEqual([
    100, 100, 100, 0,
  ])
  expect(queries).toBeLessThan(12)
})

/** Roles belong to the server, which tests share. */
function unique(): string {
  return randomBytes(4).toString('hex')
}

test('Columns whose values name tables or types forbid the swap, however deep in a type they are', async () => {
  await using run = await openSet(`
    create domain public.of_table as regclass;
    create type public.place as (n int, "table" public.of_table[]);
    create type public.between as range (subtype = regtype);
    create table public.a (id int primary key, x regclass, y public.place[], z public.between, o oid, f regproc, r regrole);
    create materialized view public.m as select to_regclass('public.a') as found, id from public.a;
    create view public.v as select x from public.a;`)
  const text = (column: string, table = 'a') =>
    `in-place: column ${column} of public.${table} holds names of tables or types, and would go on naming the old ones`
  expect(findingsOf(await run.read('public.a'))).toEqual([
    ...['x', 'y', 'z'].map((column) => text(column)),
    text('found', 'm'),
  ])
})
