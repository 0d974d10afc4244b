import { randomBytes } from 'node:crypto'
import { expect, inject, test } from 'vitest'
import { findingsOf, membersOf, openSet, remadeOf } from './swap-set/open-set.ts'
import { play } from './swap-set/play-swap.ts'
import { atomic, matviews, others, views, type Topic } from './swap-set/schemas.ts'

const { major } = inject('postgres')

function topic(schema: string, { members, outside }: Topic, more = ''): string {
  return `create schema ${schema}; ${members} ${outside} ${more}`
}

test('A table has its own keys, statistics and parts in the set, and nothing of its neighbours', async () => {
  await using run = await openSet(`
    create table public.o (id int primary key);
    create table public.a (id serial primary key, o_id int references o, self int references a, x text unique);
    create table public.k (id int primary key, a_id int references a on delete cascade);
    create index on public.a (lower(x));
    create view public.v as select id, x from a;
    create materialized view public.mo as select * from o;`)
  const set = await run.read('public.a')
  expect(membersOf(set)).toEqual(['public.a r 0'])
  expect(set.members[0]).toMatchObject({ owner: 'postgres', isPopulated: true, rowSecurity: false })
  expect(set.keys.map(({ side, name }) => `${side} ${name}`)).toEqual([
    'outbound a_o_id_fkey',
    'inner a_self_fkey',
    'inbound k_a_id_fkey',
  ])
  expect(remadeOf(set)).toEqual(['view public.v'])
  expect(findingsOf(set)).toEqual([])
  expect(membersOf(await run.read('public.k'))).toEqual(['public.k r 0'])
})

test('R6: views are made again with their options and column names, in every shape, and bind to the new table', async () => {
  await using run = await openSet(
    topic('vw', views, major < 15 ? '' : 'create view vw.invoker with (security_invoker) as select id from vw.a;'),
  )
  const tables = ['vw.a', 'vw.b']
  const set = await run.read(...tables)
  expect(findingsOf(set)).toEqual([])
  expect(membersOf(set)).toEqual(['vw.a r 0', 'vw.b r 1', 'vw.whole v 0', 'vw.wholes v 1', 'vw.whole_again v 0'])
  expect(remadeOf(set)).toEqual([
    'view vw.of_whole',
    'view vw.outer_view',
    'rule upd on vw.far',
    'view vw.barrier',
    'view vw.checked',
    'view vw.grouped',
    ...(major < 15 ? [] : ['view vw.invoker']),
    'view vw.lateraled',
    'view vw.literal',
    'view vw.natural_join',
    'view vw.plain',
    'view vw.tree',
    'view vw.united',
    'rule ins on vw.plain',
  ])
  const barrier = set.remade.find(({ what }) => what === 'view vw.barrier')
  expect(barrier).toMatchObject({
    owner: 'postgres',
    schema: 'vw',
    relation: { schema: 'vw', name: 'barrier', kind: 'v' },
  })
  expect(barrier?.sql).toMatch(/^create or replace view vw\.barrier with \(security_barrier='true'\) as +SELECT/)
  expect(set.remade.find(({ what }) => what === 'view vw.checked')?.sql).toContain("with (check_option='local') as")

  const twins = `
    create view vw.whole as select a, a.id from vw.a;
    create view vw.wholes as select array_agg(b) as bs from vw.b;
    create view vw.whole_again as select a as again from vw.whole;`
  const { left, now, before, after } = await play(run, set, views.members + twins, tables)
  expect(remadeOf(left)).toEqual([])
  expect(membersOf(now)).toEqual(membersOf(set))
  expect(now.remade).toEqual(set.remade)
  expect(after.map(oidless)).toEqual(expect.arrayContaining(before.map(oidless)))
})

test('Test 8: rules, policies, defaults, domains and functions outside are made again and bind to the new tables', async () => {
  await using run = await openSet(topic('ot', others, major < 14 ? '' : atomic))
  const tables = ['ot.a', 'ot.b']
  const set = await run.read(...tables)
  expect(findingsOf(set)).toEqual([])
  expect(membersOf(set)).toEqual(['ot.a r 0', 'ot.b r 1'])
  expect(remadeOf(set)).toEqual([
    'view ot.last',
    ...(major < 14 ? [] : ['function ot.atom(integer)']),
    'function ot.by_arg(bigint)',
    ...(major < 14 ? [] : ['procedure ot.proc(integer)']),
    'rule "off; rule" on ot.o',
    'rule cp on ot.o',
    'rule rep on ot.o',
    'policy "in ""se""rt" on ot.o',
    'policy sees on ot.o',
    'default of a_id in ot.o',
    'default of domain ot.numbered',
    'default of id in ot.part1',
    'default of id in ot.parts',
    'default of n in ot.o',
    'default of z in ot.o',
  ])
  expect(set.remade.find(({ what }) => what.includes('domain'))).toMatchObject({ relation: undefined, schema: 'ot' })
  const { left, now, before, after } = await play(run, set, others.members, tables)
  expect(remadeOf(left)).toEqual([])
  expect(now.remade).toEqual(set.remade)
  expect(after).toEqual(before)
})

test('What compares by operators of another schema, which SQL cannot name, compares by them when it is made again', async () => {
  const members = `create table ci.a (id int primary key, c "Op s".citext, d "Op s".citext);
    create table ci.b (id int primary key, c "Op s".citext);`
  await using run = await openSet(
    `create schema "Op s"; create extension citext schema "Op s"; create schema ci; ${members}
    set search_path = "Op s", pg_catalog;
    create sequence ci.oseq; create table ci.o (id int, c citext default nullif('ci.a'::regclass::text::citext, 'X'));
    create view ci.v as select id, c in (select c from ci.b) as one, nullif(c, 'x') as two, c is distinct from d as three,
      case c when 'X' then 1 end as four, (c, id) in (select d, id from ci.a) as five, c = any (array['x'::citext]) as six,
      c like 'X%' as seven, c in ('x', 'y') as eight from ci.a;
    create view ci.joined as select c, a.id, d from ci.a join ci.b using (c);
    alter table ci.o enable row level security;
    create policy p on ci.o using (c in (select c from ci.a)) with check (c is distinct from (select min(d) from ci.a));
    create rule r as on insert to ci.o where new.c in (select c from ci.a) do also delete from ci.b where c is not distinct from new.c;
    ${major < 14 ? '' : 'create function ci.f(citext) returns bool language sql begin atomic select $1 in (select c from ci.a); end;'}`,
  )
  const tables = ['ci.a', 'ci.b']
  const set = await run.read(...tables)
  const { left, now, before, after } = await play(run, set, members, tables)
  expect(after).toEqual(before)
  expect([...left.remade, ...findingsOf(now)]).toEqual([])
})

test('Sequences, policies, rules and row types tie tables into components, foreign keys do not', async () => {
  await using run = await openSet(`
    create table public.a (id serial primary key);
    create table public.b (id int default nextval('public.a_id_seq'));
    create table public.c (id int references public.a, x int);
    create table public.d (x int);
    create policy p on public.c using (x in (select x from public.d));
    create table public.e (x int);
    create table public.f (x int);
    create rule r as on insert to public.e do also insert into public.f values (new.x);
    create table public.g (id int);
    create table public.h (gs public.g[]);`)
  const set = await run.read(...'abcdefgh'.split('').map((name) => `public.${name}`))
  expect(membersOf(set)).toEqual([
    'public.a r 0',
    'public.b r 0',
    'public.c r 1',
    'public.d r 1',
    'public.e r 2',
    'public.f r 2',
    'public.g r 3',
    'public.h r 3',
  ])
  expect(findingsOf(set)).toEqual([])
  expect(findingsOf(await run.read('public.g'))).toEqual([
    'in-place: table column public.h.gs uses the row type of public.g',
  ])
  const alone = await run.read('public.a', 'public.d')
  expect(membersOf(alone)).toEqual(['public.a r 0', 'public.d r 1'])
  expect(remadeOf(alone)).toEqual(['policy p on public.c', 'default of id in public.b'])
})

test('A materialized view of a member, and the views between them, are members in the order of their reading', async () => {
  await using run = await openSet(topic('mv', matviews))
  const set = await run.read('mv.a', 'mv.other')
  expect(membersOf(set)).toEqual(['mv.a r 0', 'mv.other r 1', 'mv.v1 v 0', 'mv.v2 v 0', 'mv.m1 m 0', 'mv.m2 m 0'])
  expect(set.members.map(({ isPopulated }) => isPopulated)).toEqual([true, true, true, true, true, false])
  expect(remadeOf(set)).toEqual(['view mv.over', 'view mv.side'])
  expect(set.statistics.map(({ name, table, component }) => ({ name, table, component }))).toEqual([
    { name: 'st', table: { schema: 'mv', name: 'm1' }, component: 0 },
  ])
  expect(findingsOf(set)).toEqual([])
})

test('R3: a part of an inheritance or partition tree is not swapped, a whole tree is, with what is above it', async () => {
  await using run = await openSet(`
    create table public.par (id int); create table public.kid (x int) inherits (public.par);
    create table public.grandkid () inherits (public.kid);
    create table public.p (id int, r int, primary key (id, r)) partition by range (id);
    create table public.p_low partition of public.p for values from (0) to (10);
    create table public.p_sub partition of public.p for values from (10) to (20) partition by list (r);
    create table public.p_sub_1 partition of public.p_sub for values in (1);
    create table public.p_rest (r int not null, id int not null);
    alter table public.p attach partition public.p_rest default;
    create table public.p_empty partition of public.p for values from (20) to (30) partition by list (r);
    create table public.points (id int, r int, foreign key (id, r) references public.p);
    create view public.v_leaf as select id from public.p_sub_1;
    create view public.v_root as select count(*) from public.p;
    create index on only public.p (r);`)
  const inherits = (kid: string, par: string) =>
    `in-place: ${kid} inherits from ${par}, and only one of them is replaced`
  expect(findingsOf(await run.read('public.kid'))).toEqual([
    inherits('public.grandkid', 'public.kid'),
    inherits('public.kid', 'public.par'),
  ])
  const family = await run.read('public.par', 'public.kid', 'public.grandkid')
  expect(findingsOf(family)).toEqual([])
  expect(membersOf(family)).toEqual(['public.par r 0', 'public.kid r 0', 'public.grandkid r 0'])

  expect(findingsOf(await run.read('public.p_low', 'public.p_rest'))).toEqual([
    'in-place: partition public.p_sub_1 of public.p is not replaced with the others',
  ])
  expect(findingsOf(await run.read('public.p_low'))).toEqual([
    'in-place: partition public.p_rest (and 1 more) of public.p is not replaced with the others',
  ])
  const whole = await run.read('public.p_low', 'public.p_rest', 'public.p_sub_1')
  expect(findingsOf(whole)).toEqual([])
  expect(membersOf(whole)).toEqual([
    'public.p p 0',
    'public.p_empty p 0',
    'public.p_low r 0',
    'public.p_rest r 0',
    'public.p_sub p 0',
    'public.p_sub_1 r 0',
  ])
  expect(whole.keys.map(({ name, side, tableKind }) => [name, side, tableKind])).toEqual([
    ['points_id_r_fkey', 'inbound', 'r'],
  ])
  expect(remadeOf(whole)).toEqual(['view public.v_leaf', 'view public.v_root'])
})

test('R8: statistics objects of a member are found in every schema, with target, owner and comment', async () => {
  await using run = await openSet(`
    create schema stats;
    create table public.a (id int, x int, y int); create table public.b (id int, x int);
    create statistics stats."My st" (ndistinct, dependencies) on x, y from public.a;
    alter statistics stats."My st" set statistics 77; comment on statistics stats."My st" is 'why';
    create statistics public.st on id, x from public.a;
    create statistics public.other on id, x from public.b;`)
  const { statistics } = await run.read('public.a')
  expect(statistics.map(({ oid, ...one }) => ({ ...one, hasOid: oid > 0 }))).toEqual([
    {
      schema: 'public',
      name: 'st',
      table: { schema: 'public', name: 'a' },
      component: 0,
      definition: 'CREATE STATISTICS public.st ON id, x FROM public.a',
      target: null,
      owner: 'postgres',
      comment: null,
      hasOid: true,
    },
    {
      schema: 'stats',
      name: 'My st',
      table: { schema: 'public', name: 'a' },
      component: 0,
      definition: 'CREATE STATISTICS stats."My st" (ndistinct, dependencies) ON x, y FROM public.a',
      target: 77,
      owner: 'postgres',
      comment: 'why',
      hasOid: true,
    },
  ])
})

test('D9: two schemas with the same names, and names that need quotes, are told apart', async () => {
  const odd = '"S ""q"" . REFERENCES x("'
  await using run = await openSet(`
    create schema one; create schema ${odd};
    create table one.a (id int primary key, v text); create index i on one.a (v);
    create table ${odd}.a (id int primary key, v text); create index i on ${odd}.a (v);
    create table ${odd}."a) REFERENCES ""b""(" (") REFERENCES one.a(" int references ${odd}.a on update cascade, b int references one.a);
    create view ${odd}."v;'" as select v from ${odd}.a;`)
  const set = await run.read('one.a', `${odd}.a`)
  expect(findingsOf(set)).toEqual([])
  expect(set.members.map(({ schema, name, component }) => [schema, name, component])).toEqual([
    ['S "q" . REFERENCES x(', 'a', 0],
    ['one', 'a', 1],
  ])
  const inbound = set.keys.filter(({ side }) => side === 'inbound')
  expect(inbound).toHaveLength(2)
  for (const key of inbound) {
    expect(`${key.head}${key.referenced.schema === 'one' ? 'one' : odd}.a${key.tail}`).toBe(key.definition)
  }
  const again = `create table one.a (id int primary key, v text); create table ${odd}.a (id int primary key, v text);`
  const { left } = await play(run, set, again, ['one.a', `${odd}.a`])
  expect([...left.remade, ...left.keys]).toEqual([])
})

test('D11: what is made again names its owner and its schema', async () => {
  const name = `owner_${unique()}`
  await using set = await openSet(`
    create role ${name};
    create schema s; create table s.a (id int primary key, x text);
    create view s.v as select id from s.a; alter view s.v owner to ${name};
    create table s.o (id int); alter table s.o owner to ${name}; grant select on s.a to ${name};
    create policy p on s.o using (id in (select id from s.a));
    create function s.f(x regclass default 's.a') returns int language sql as 'select 1'; alter function s.f owner to ${name};`)
  try {
    const { remade } = await set.read('s.a')
    expect(remade.map(({ kind, owner, schema }) => [kind, owner, schema])).toEqual([
      ['view', name, 's'],
      ['function', name, 's'],
      ['policy', name, 's'],
    ])
  } finally {
    await set.client.query(`drop owned by ${name}; drop role ${name}`)
  }
})

test('Keys have their sides, and the operators and collations that the server compares with', async () => {
  await using set = await openSet(`
    create schema k; create extension citext schema k;
    create table k.a (id bigint primary key, c k.citext unique, t text collate "POSIX" unique, u int, w int, unique (u, w));
    create table k.far (id int primary key);
    create table k.b (id int references k.a (id), c k.citext references k.a (c), t text collate "C" references k.a (t),
      u int, w int, foreign key (w, u) references k.a (w, u) match full on delete set null deferrable initially deferred);
    alter table k.b drop constraint b_id_fkey; alter table k.b add foreign key (id) references k.a not valid;
    comment on constraint b_id_fkey on k.b is 'why';
    create table k.s (id int primary key references k.far, u int, w int, foreign key (u, w) references k.a (u, w));
    create table k.parts (id bigint references k.a) partition by list (id);
    create table k.part partition of k.parts for values in (1);
    ${major < 18 ? '' : since18}`)
  const { keys, findings } = await set.read('k.a', 'k.s')
  const shown = keys.map(({ name, side, columns, tableKind }) => [
    `${side} ${name} ${tableKind}`,
    ...columns.map((one) => `${one.referenced} ${one.operator} ${one.name}${one.collation}`),
  ])
  expect(shown).toEqual([
    ['inbound b_c_fkey r', 'c operator(k.=) c'],
    ['inbound b_id_fkey r', 'id operator(pg_catalog.=) id'],
    ['inbound b_t_fkey r', 't operator(pg_catalog.=) t collate pg_catalog."POSIX"'],
    ['inbound b_w_u_fkey r', 'w operator(pg_catalog.=) w', 'u operator(pg_catalog.=) u'],
    ['inbound parts_id_fkey p', 'id operator(pg_catalog.=) id'],
    ['outbound s_id_fkey r', 'id operator(pg_catalog.=) id'],
    ['inner s_u_w_fkey r', 'u operator(pg_catalog.=) u', 'w operator(pg_catalog.=) w'],
  ])
  const find = (name: string) => keys.find((key) => key.name === name)
  expect(find('b_id_fkey')).toMatchObject({ validated: false, enforced: true, matchFull: false, comment: 'why' })
  expect(find('b_w_u_fkey')).toMatchObject({
    matchFull: true,
    deferrable: true,
    initiallyDeferred: true,
    hasPeriod: false,
  })
  for (const key of keys)
    expect(`${key.head}${key.referenced.schema}.${key.referenced.name}${key.tail}`).toBe(key.definition)
  const partitioned = 'in-place: partitioned table k.parts references k.a, and its key could not be checked later'
  expect(findings.map(({ effect, text }) => `${effect}: ${text}`)).toEqual(major < 18 ? [partitioned] : [])
  expect(findingsOf(await set.read('k.part'))).toEqual([])
  if (major < 18) return
  const more = (await set.read('k.room')).keys
  expect(more.map(({ name, enforced, hasPeriod }) => [name, enforced, hasPeriod])).toEqual([
    ['stay_not', false, false],
    ['stay_period', true, true],
  ])
})

const since18 = `
  create extension btree_gist schema k;
  create table k.room (id int unique, during daterange, primary key (id, during without overlaps));
  create table k.stay (id int, during daterange,
    constraint stay_period foreign key (id, period during) references k.room (id, period during),
    constraint stay_not foreign key (id) references k.room (id) not enforced);`

/** Without the object's OID, which a twin does not share. */
function oidless(text: string): string {
  return text.replace(/^\d+ /, '')
}

/** Roles belong to the server, which tests share. */
function unique(): string {
  return randomBytes(4).toString('hex')
}
