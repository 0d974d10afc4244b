import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { expect, inject, test } from 'vitest'
import { prepareDependencyPrint } from '../src/postgres/dependency-print.ts'
import { findLeaks } from '../src/postgres/leak-check.ts'
import { fromPgError } from '../src/postgres/pg-error.ts'
import { prepareFingerprint, readFingerprint } from '../src/postgres/fingerprint.ts'
import { unlimitedLease } from '../src/report/lease.ts'
import { takeFence } from '../src/restore/receipt.ts'
import { exchange } from '../src/restore/swap/exchange.ts'
import { isContention } from '../src/restore/swap/contention.ts'
import { LOCK_MS } from '../src/restore/swap/lock-for-move.ts'
import { move } from '../src/restore/swap/move.ts'
import { prepareMove } from '../src/restore/swap/prepare-move.ts'
import { dropPrevious } from '../src/restore/swap/previous.ts'
import {
  cascading,
  child,
  failure,
  family,
  isUntouched,
  j1,
  j2,
  j3,
  open,
  outside,
  parent,
  regions,
  stage,
  swap,
  toRegion,
  twins,
  undoJob,
  waitForLock,
  waitForYoungSnapshots,
} from './swap-place.ts'

const { major } = inject('postgres')

test('An exchange makes the incoming tables the live ones, keeps the old ones, and leaves every definition as it was', async () => {
  await using place = await open(`${parent('public')} ${child('public')} ${outside}
    insert into public.parent values (1, 'old'), (2, 'old too');
    insert into public.child values (1, 1);
    insert into public.outer_child values (7, 1);`)
  const change = await stage(
    place,
    j1,
    ['parent', 'child'],
    (schema) => `${parent(schema)} ${child(schema)}
    insert into ${schema}.parent values (1, 'new'); insert into ${schema}.child values (5, 1);`,
  )
  const before = await readFingerprint(place.target.session)
  const { receipt, previous } = await swap(place, change)

  expect(await place.rows('select * from public.parent')).toEqual(['1 new'])
  expect(await place.rows('select * from public.notes')).toEqual(['1 new'])
  expect(await place.rows('select * from public.over_notes')).toEqual(['1'])
  expect(await place.rows(`select * from ${previous.schemas.get('public')}.parent order by 1`)).toEqual([
    '1 old',
    '2 old too',
  ])
  expect(await readFingerprint(place.target.session)).toEqual(before)
  expect(receipt).toMatchObject({ job: j1, engine: 'swap', archive: `archive of ${j1}` })
  expect(place.steps).toEqual(['swapping', 'committing', 'changing', 'changed', 'tidied'])
  expect(place.told.map(({ type }) => type)).toEqual(['swap.done'])
  expect(place.told[0]?.data).toMatchObject({ tables: 2, attempts: 1, late_writes: 0 })
  expect(await place.rows(`select nspname from pg_namespace where nspname ~ '^multiboard' order by 1`)).toEqual([
    'multiboard_sync',
    `multiboard_sync_prev_${j1}_1`,
  ])
  await expect(place.rows('insert into public.outer_child values (8, 2)')).rejects.toThrow('outer_child_fkey')

  // And back, and forth again.
  await undoJob(place, j1, j2)
  expect(await place.rows('select * from public.parent order by 1')).toEqual(['1 old', '2 old too'])
  expect(await place.rows('select * from public.over_notes')).toEqual(['2'])
  expect(await readFingerprint(place.target.session)).toEqual(before)
  await undoJob(place, j2, j3)
  expect(await place.rows('select * from public.parent')).toEqual(['1 new'])
  expect(await readFingerprint(place.target.session)).toEqual(before)
  expect(await place.rows('select job, archive, undoes from multiboard_sync.receipts order by committed_at')).toEqual([
    `${j1} archive of ${j1} `,
    `${j2} backup of ${j1} ${j1}`,
    `${j3} archive of ${j1} ${j2}`,
  ])
})

test('R1: an exchange waits for a snapshot that is older than the new rows, which would find the tables empty', async () => {
  await using place = await open(family)
  const reader = await place.client()
  await reader.query(
    `set application_name = 'report'; begin isolation level repeatable read; select from public.region`,
  )
  const change = await stage(place, j1, ['parent', 'child'], twins)
  const error = await failure(exchange(place.target, { ...change, lockAttempts: 1 }, place.run))
  expect(error.code).toBe('old-snapshot')
  expect(error.details.join()).toContain('(report)')
  await isUntouched(place)
  expect((await reader.query('select note from public.parent')).rows).toEqual([{ note: 'old' }])
  // Its lock on the old table is in the way as well now; a younger snapshot that holds none is not.
  await reader.query('commit')
  await waitForYoungSnapshots(place, change.snapshotMark)
  await reader.query('begin isolation level repeatable read')
  await reader.query('select from public.region')
  await swap(place, change)
  expect((await reader.query('select note from public.parent order by 1')).rows).toEqual([
    { note: 'new' },
    { note: 'newer' },
  ])
})

test('R2: keys to tables outside go with the live tables, so that neither the stage nor the previous tables hold rows there', async () => {
  await using place = await open(
    `${regions} ${cascading('public')} ${toRegion('public')} insert into public.city values (1, 1);`,
  )
  const change = await stage(
    place,
    j1,
    ['city'],
    (schema) => `${cascading(schema)} insert into ${schema}.city values (1, 2);`,
  )
  const before = await readFingerprint(place.target.session)
  const { previous } = await swap(place, change)
  expect(await readFingerprint(place.target.session)).toEqual(before)
  await expect(place.rows('insert into public.city values (3, 3)')).rejects.toThrow('city_fkey')
  // Only the previous table has a row that refers to it.
  await place.rows('delete from public.region where id = 1')
  expect(await place.rows(`select * from ${previous.schemas.get('public')}.city`)).toEqual(['1 1'])
  await place.rows('truncate public.region, public.city')
  // And now the previous rows do not fit the regions any more.
  const error = await failure(undoJob(place, j1, j2))
  expect([error.code, ...error.details]).toEqual(['constraint-violated', 'foreign key of public.city "city_fkey"'])
  expect(await place.rows('select * from public.city')).toEqual([])
})

test('R6: a view that is made again keeps security_barrier, security_invoker and its check option', async () => {
  const invoker = major >= 15 ? ', security_invoker = true' : ''
  await using place = await open(`${parent('public')} insert into public.parent values (1, 'old');
    create role viewer_${major}_r6; create view public.guarded with (security_barrier = true, check_option = local${invoker}) as
      select * from public.parent where note <> 'secret';
    grant select on public.guarded to viewer_${major}_r6; comment on view public.guarded is 'kept';`)
  const options = async () => await place.rows(`select reloptions from pg_class where oid = 'public.guarded'::regclass`)
  const before = await options()
  const change = await stage(
    place,
    j1,
    ['parent'],
    (schema) => `${parent(schema)} insert into ${schema}.parent values (1, 'new');`,
  )
  await swap(place, change)
  expect(await options()).toEqual(before)
  await expect(place.rows(`insert into public.guarded (id, note) values (9, 'secret')`)).rejects.toThrow('check option')
  expect(await place.rows('select note from public.guarded')).toEqual(['new'])
  await place.rows(`drop owned by viewer_${major}_r6; drop role viewer_${major}_r6`)
})

test('R7: previous tables that a constraint trigger or a publication points to are kept, and the answer says why', async () => {
  await using place = await open(family)
  const { previous } = await swap(place, await stage(place, j1, ['parent', 'child'], twins))
  const kept = previous.schemas.get('public')
  await place.rows(`create function public.f() returns trigger language plpgsql as 'begin return null; end'`)
  await place.rows(`create constraint trigger watch after insert on public.region from ${kept}.parent
    for each row execute function public.f()`)
  await place.rows(`create publication p for table ${kept}.child`)
  const { session } = place.target
  const first = await dropPrevious(session, [])
  expect(first.dropped).toEqual([])
  expect(first.kept).toMatchObject([{ job: j1 }])
  expect(first.kept[0]?.reasons.join()).toMatch(/watch.*parent/)
  expect(first.kept[0]?.reasons.join()).toMatch(/publication.* p/)
  expect(await place.rows(`select count(*) from ${kept}.parent`)).toEqual(['1'])
  await place.rows('drop trigger watch on public.region')
  await place.rows('drop publication p')
  expect(await dropPrevious(session, [j1])).toEqual({ dropped: [], kept: [] })
  expect(await dropPrevious(session, [])).toEqual({ dropped: [j1], kept: [] })
  expect(await place.rows(`select nspname from pg_namespace where nspname ~ '^multiboard_sync_'`)).toEqual([])
})

test('D4: a vacuum of the table is waited for longer than a reader, with a lock that keeps nobody else waiting', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins, { lockAttempts: 1 })
  const vacuum = await place.client()
  // Holds the lock of a vacuum until its transaction ends.
  await vacuum.query('begin; analyze public.parent')
  const exchanging = exchange(place.target, change, place.run)
  await waitForLock(place)
  await sleep(LOCK_MS + 150)
  await place.rows(`set statement_timeout = '2s'; update public.parent set note = 'written meanwhile' where id = 1`)
  await vacuum.query('commit')
  await exchanging
  expect(await place.rows('select note from public.parent order by id')).toEqual(['new', 'newer'])
})

test('D5: a migration in the very moment of the exchange is seen under its own locks, without a second connection', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins, { lockAttempts: 10 })
  const reader = await place.client()
  await reader.query('begin; select from public.child')
  const exchanging = failure(exchange(place.target, change, place.run))
  await waitForLock(place)
  await place.rows(`create or replace view public.notes with (security_barrier = true) as
    select id, note from public.parent where note <> 'other'`)
  await reader.query('commit')
  expect((await exchanging).code).toBe('schema-changed')
  await isUntouched(place)
  expect(await place.rows(`select pg_get_viewdef('public.notes'::regclass)`)).toEqual([
    expect.stringContaining('other'),
  ])
})

test('D7: an undo looks up what depends on the tables now, not what depended on them before', async () => {
  await using place = await open(family)
  await swap(place, await stage(place, j1, ['parent', 'child'], twins))
  await place.rows(`alter table public.region add column ticket int default nextval('public.parent_id_seq')`)
  await place.rows('create view public.late as select max(id) as id from public.parent')
  await undoJob(place, j1, j2)
  expect(await place.rows('select id from public.late')).toEqual(['1'])
  expect(await findLeaks(place.target.session, [`multiboard_sync_prev_${j2}_1`])).toEqual([])
  await place.rows(`select setval('public.parent_id_seq', 500)`)
  expect(await place.rows('insert into public.region values (9) returning ticket')).toEqual(['501'])
})

test('D8: a sequence without an owner is raised, never lowered, and not at all when the exchange fails', async () => {
  await using place = await open(`${family} create sequence public.low; create sequence public.high;
    create sequence public.full maxvalue 10; create sequence public.down increment -1;
    select setval('public.high', 900), setval('public.down', -5);`)
  const values = async () =>
    await place.rows(`select (select row(last_value, is_called)::text from public.low), (select last_value from public.high),
      (select row(last_value, is_called)::text from public.full), (select last_value from public.down)`)
  const raise = [
    ...['low', 'high'].map((name) => ({ sequence: { schema: 'public', name }, value: '42', isCalled: true })),
    { sequence: { schema: 'public', name: 'full' }, value: '10', isCalled: true },
    { sequence: { schema: 'public', name: 'down' }, value: '-7', isCalled: true },
  ]
  const change = await stage(place, j1, ['parent', 'child'], twins, { raise })
  const before = await values()
  const late = { ...place.run, lease: { ...unlimitedLease, remainingMs: () => -1 } }
  expect((await failure(exchange(place.target, change, late))).code).toBe('lease-lost')
  expect(await values()).toEqual(before)
  await isUntouched(place)
  await place.rows(`select setval('public.parent_id_seq', 77)`)
  await swap(place, change)
  expect(await values()).toEqual(['(42,t) 900 (10,t) -7'])
  // The one that a table owns travels with it.
  expect(await place.rows('select last_value from public.parent_id_seq')).toEqual(['1'])
})

test('D15: where a writer takes the tables in another order, the exchange gives way and tries again', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins, { lockAttempts: 10 })
  const writer = await place.client()
  await writer.query(`set application_name = 'shop'; begin; update public.parent set note = 'changed'`)
  const exchanging = swap(place, change)
  await waitForLock(place)
  await writer.query('update public.child set parent_id = 1')
  await writer.query('commit')
  await exchanging
  expect(await place.rows('select note from public.parent order by id')).toEqual(['new', 'newer'])
  expect(await place.rows(`select note from multiboard_sync_prev_${j1}_1.parent`)).toEqual(['changed'])
  expect(isContention(fromPgError({ code: '40P01', message: 'deadlock detected' }, 'testing'))).toBe(true)
})

test('D15: a writer of a table outside that holds a lock on the live table is given way to, and never the victim', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins, { lockAttempts: 20 })
  const writer = await place.client()
  await writer.query(`begin; update public.parent set note = 'changed'`)
  const exchanging = swap(place, change)
  await waitForLock(place)
  // Locked against writers since its rows were checked.
  await writer.query('insert into public.outer_child values (8, 1)')
  await writer.query('commit')
  await exchanging
  expect(await place.rows('select id from public.outer_child order by 1')).toEqual(['7', '8'])
  expect(await place.rows('select note from public.parent order by id')).toEqual(['new', 'newer'])
})

test('D16: what would go on pointing to the replaced tables is found before the commit, and everything rolled back', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins)
  const { session } = place.target
  const prints = {
    definitions: await prepareFingerprint(session, { keys: 'unvalidated' }),
    dependencies: await prepareDependencyPrint(session),
  }
  const attempt = async (): Promise<SyncError> => {
    await session.run('begin')
    await takeFence(session, { job: j1, fence: undefined, target: 'staging' })
    const prepared = await prepareMove(session, change, prints, { oids: [], hasBegun: true })
    const forgetful = prepared.moveSql.replace(/create or replace view "?public"?."?notes[^;]*;/i, '')
    expect(forgetful).not.toBe(prepared.moveSql)
    const error = await failure(move(session, change, { ...prepared, moveSql: forgetful }, place.run.signal))
    await session.run('rollback')
    // Roles that other tests make are definitions of the whole server: it would try again.
    return error.retryable ? await attempt() : error
  }
  const error = await attempt()
  expect(error.code).toBe('unsupported-object')
  expect(error.details.join()).toContain('view public.notes points to')
  await isUntouched(place)
})

test('Keys of every kind cross the border and come back as they were, checked before the commit', async () => {
  const tree = (schema: string) => `
    create table ${schema}.part (id int not null, at int not null, code text, boss_id int, boss_at int, zone int, primary key (id, at))
      partition by range (at);
    create table ${schema}.part_low partition of ${schema}.part for values from (0) to (10);
    create table ${schema}.part_rest partition of ${schema}.part default;
    alter table ${schema}.part add constraint part_boss foreign key (boss_id, boss_at) references ${schema}.part deferrable initially deferred;
    create table ${schema}.plain (id int primary key, code text unique, zone int, x int, y int);
    create statistics ${schema}.plain_stats on zone, x from ${schema}.plain;
    create materialized view ${schema}.sums as select zone, count(*) as n from ${schema}.plain group by zone;
    create unique index sums_zone on ${schema}.sums (zone);
    create view ${schema}.rows_of as select p, p.id from ${schema}.plain p;`
  const outward = (schema: string) => `
    alter table ${schema}.part add constraint part_zone foreign key (zone) references public.zone (id) match full on update cascade;
    alter table ${schema}.plain add constraint plain_zone foreign key (zone) references public.zone (id) not valid;
    alter table ${schema}.plain add constraint plain_pair foreign key (x, y) references public.pair (a, b) match full deferrable;`
  const inward = `
    alter table public.child add constraint child_part foreign key (id, at) references public.part on delete set null;
    alter table public.child add constraint child_code foreign key (code) references public.plain (code) initially deferred;
    alter table public.child add constraint child_any foreign key (any_id) references public.plain not valid;
    comment on constraint child_part on public.child is 'to a partitioned table';`
  const rows = (schema: string) => `
    insert into ${schema}.part values (1, 1, 'a', 1, 1, 1), (2, 20, 'b', 1, 1, null);
    insert into ${schema}.plain values (1, 'one', 1, 1, 1), (2, 'two', 2, null, null);
    refresh materialized view ${schema}.sums;`
  await using place = await open(`
    create table public.zone (id int primary key); insert into public.zone values (1), (2);
    create table public.pair (a int, b int, primary key (a, b)) partition by list (a);
    create table public.pair_1 partition of public.pair for values in (1); insert into public.pair values (1, 1);
    create table public.child (id int, at int, code text, any_id int);
    ${tree('public')} ${outward('public')} ${rows('public')} ${inward} insert into public.child values (1, 1, 'one', null);
    create view public.over_sums as select sum(n) as n from public.sums;`)
  const leaves = ['part_low', 'part_rest', 'plain']
  const change = await stage(
    place,
    j1,
    leaves,
    (schema) => `${tree(schema)} ${rows(schema)}
    insert into ${schema}.plain values (3, 'three', null, null, null); refresh materialized view ${schema}.sums;`,
  )
  const before = await readFingerprint(place.target.session)
  await swap(place, change)
  expect(place.told.map(({ type }) => type)).toEqual(['swap.done'])
  expect(await readFingerprint(place.target.session)).toEqual(before)
  expect(await place.rows('select n from public.over_sums')).toEqual(['3'])
  expect(await place.rows('select count(*) from public.rows_of')).toEqual(['3'])
  for (const [sql, key] of [
    [`insert into public.child values (2, 2, null, null)`, 'child_part'],
    [`insert into public.child values (null, null, 'none', null)`, 'child_code'],
    [`insert into public.child values (null, null, null, 77)`, 'child_any'],
    [`insert into public.part values (9, 9, '', 8, 8, null)`, 'part_boss'],
    [`update public.part set zone = 9`, 'part_zone'],
    [`insert into public.plain values (9, '', 9, null, null)`, 'plain_zone'],
    [`insert into public.plain values (9, '', null, 1, null)`, 'plain_pair'],
  ] as const) {
    await expect(place.rows(sql), key).rejects.toThrow(key)
  }
  expect(await place.rows('select count(*) from multiboard_sync.to_validate')).toEqual(['0'])
  await undoJob(place, j1, j2)
  expect(await readFingerprint(place.target.session)).toEqual(before)
  expect(await place.rows('select n from public.over_sums')).toEqual(['2'])
  await expect(place.rows(`insert into public.plain values (9, '', null, 1, null)`)).rejects.toThrow('plain_pair')
})
