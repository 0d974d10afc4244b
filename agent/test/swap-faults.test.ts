import { expect, inject, it, test } from 'vitest'
import { openTarget } from '../src/postgres/open-target.ts'
import { readFingerprint } from '../src/postgres/fingerprint.ts'
import { readSnapshotMark } from '../src/postgres/snapshot-gate.ts'
import { unlimitedLease } from '../src/report/lease.ts'
import { readReceipt, takeFence } from '../src/restore/receipt.ts'
import { asideOf, createAside } from '../src/restore/stage/aside.ts'
import { afterSwap, validateKeys } from '../src/restore/swap/after-swap.ts'
import { exchange } from '../src/restore/swap/exchange.ts'
import { dropPrevious } from '../src/restore/swap/previous.ts'
import { findUndoable } from '../src/restore/undo.ts'
import {
  cascading,
  child,
  failure,
  family,
  isUntouched,
  j1,
  j2,
  j3,
  j4,
  open,
  parent,
  regions,
  stage,
  swap,
  toRegion,
  twins,
  undoJob,
} from './swap-place.ts'

const { major } = inject('postgres')

it('test 2: a deleted parent row outside does not reach the staged or the previous rows by ON DELETE CASCADE', async () => {
  await using place = await open(
    `${regions} ${cascading('public')} ${toRegion('public')} insert into public.city values (1, 1);`,
  )
  const change = await stage(
    place,
    j1,
    ['city'],
    (schema) => `${cascading(schema)} insert into ${schema}.city values (1, 1), (2, 2);`,
  )
  await place.rows('insert into public.region values (3); delete from public.region where id = 3')
  await swap(place, change)
  await place.rows('delete from public.region where id = 1')
  expect(await place.rows('select * from public.city')).toEqual(['2 2'])
  await place.rows('insert into public.region values (1)')
  await undoJob(place, j1, j2)
  expect(await place.rows('select * from public.city')).toEqual(['1 1'])
  await place.rows('delete from public.region where id = 1')
  expect(await place.rows('select * from public.city')).toEqual([])
})

it('test 7: a view with security_barrier shows the rows of the new table, with security_invoker by the reader’s own rights', async () => {
  const invoker = major >= 15 ? 'with (security_invoker = true)' : ''
  const role = `reader_${major}_t7`
  await using place = await open(`${parent('public')} create role ${role};
    create view public.mine ${invoker} as select id from public.parent;
    grant select on public.mine to ${role}; grant usage on schema public to ${role};`)
  await swap(
    place,
    await stage(place, j1, ['parent'], (schema) => `${parent(schema)} insert into ${schema}.parent values (4, 'new');`),
  )
  const asReader = await place.rows(`set role ${role}; select id from public.mine`).then(
    () => 'allowed',
    (error: unknown) => String(error),
  )
  expect(asReader).toContain(major >= 15 ? 'permission denied for table parent' : 'allowed')
  await place.rows('reset role')
  expect(await place.rows('select id from public.mine')).toEqual(['4'])
  await place.rows(`drop owned by ${role}; drop role ${role}`)
})

it('test 12: a column added between the stage and the exchange fails the job, and the target is untouched', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins)
  await place.rows('alter table public.parent add column extra int')
  expect((await failure(exchange(place.target, change, place.run))).code).toBe('schema-changed')
  // Also when nobody remembers what was planned: then what comes in would not be what was there.
  const error = await failure(exchange(place.target, { ...change, fingerprint: undefined }, place.run))
  expect([error.code, ...error.details]).toEqual([
    'schema-changed',
    'was: column public parent extra',
    'was: column-order public parent',
    'would be: column-order public parent',
  ])
  await isUntouched(place)
})

it('test 8: a policy and a rule of tables outside act on the new table', async () => {
  const role = `tenant_${major}_t8`
  const granted = (schema: string) => `grant select on ${schema}.parent to ${role};`
  await using place = await open(`${parent('public')} insert into public.parent values (1, 'old'); ${regions}
    create role ${role}; grant usage on schema public to ${role}; grant select on public.region to ${role}; ${granted('public')}
    alter table public.region enable row level security;
    create policy seen on public.region for select to ${role} using (exists (select from public.parent p where p.id = region.id));
    create table public.log (id int); create rule noted as on insert to public.log do also insert into public.parent values (new.id, 'noted');`)
  const change = await stage(
    place,
    j1,
    ['parent'],
    (schema) => `${parent(schema)} ${granted(schema)} insert into ${schema}.parent values (2, 'new');`,
  )
  const before = await readFingerprint(place.target.session)
  const { previous } = await swap(place, change)
  expect(await readFingerprint(place.target.session)).toEqual(before)
  await place.rows(`set role ${role}`)
  expect(await place.rows('select id from public.region')).toEqual(['2'])
  await place.rows('reset role')
  await place.rows('insert into public.log values (8)')
  expect(await place.rows('select id from public.parent order by 1')).toEqual(['2', '8'])
  expect(await place.rows(`select id from ${previous.schemas.get('public')}.parent`)).toEqual(['1'])
  await place.rows(`drop owned by ${role}; drop role ${role}`)
})

it('test 10: tables of the same name in two schemas, with quotes and names of 63 bytes, are exchanged each for its own', async () => {
  const long = 'Ü"' + 'x'.repeat(60)
  const name = `"${long.replaceAll('"', '""')}"`
  const odd = `it's "odd". schema`
  const make = (schema: string) => `create table ${schema}.${name} (id int primary key, ${name} text);
    create index "ix.1" on ${schema}.${name} (${name});
    create statistics ${schema}."st 1" on id, ${name} from ${schema}.${name};`
  const quoted = `"${odd.replaceAll('"', '""')}"`
  await using place = await open(`create schema ${quoted}; ${make('public')} ${make(quoted)}
    insert into public.${name} values (1, 'public old'); insert into ${quoted}.${name} values (1, 'odd old');`)
  const change = await stage(place, j1, [`public.${long}`], () => '')
  await place.rows(`drop schema multiboard_sync_stage_${j1}_1`)
  const incoming = asideOf('stage', j1, ['public', odd])
  await createAside(place.target.session, incoming)
  const [odds, publics] = [incoming.schemas.get(odd) ?? '', incoming.schemas.get('public') ?? '']
  await place.target.session.run(`${make(odds)} ${make(publics)} insert into ${odds}.${name} values (1, 'odd new');
    insert into ${publics}.${name} values (1, 'public new');`)
  const tables = ['public', odd].map((schema) => ({ schema, name: long }))
  const before = await readFingerprint(place.target.session)
  const both = async () =>
    await place.rows(`select ${name} from public.${name} union all select ${name} from ${quoted}.${name}`)
  await swap(place, { ...change, incoming, tables, snapshotMark: await readSnapshotMark(place.target.session) })
  expect(await both()).toEqual(['public new', 'odd new'])
  expect(await readFingerprint(place.target.session)).toEqual(before)
  await undoJob(place, j1, j2)
  expect(await both()).toEqual(['public old', 'odd old'])
  expect(await readFingerprint(place.target.session)).toEqual(before)
})

it('test 11: a row outside that came to refer to a row which the new table lacks fails the job, and the target is untouched', async () => {
  await using place = await open(family)
  const change = await stage(
    place,
    j1,
    ['parent', 'child'],
    (schema) => `${parent(schema)} ${child(schema)}
    insert into ${schema}.parent values (1, 'new');`,
  )
  await place.rows(`insert into public.parent values (33, 'late')`)
  await place.rows('insert into public.outer_child values (8, 33)')
  const error = await failure(exchange(place.target, change, place.run))
  expect([error.code, ...error.details]).toEqual([
    'constraint-violated',
    'foreign key of public.outer_child "outer_child_fkey"',
  ])
  expect(await place.rows('select note from public.parent order by 1')).toEqual(['late', 'old'])
  expect(await place.rows(`select nspname from pg_namespace where nspname ~ '^multiboard_sync'`)).toEqual([
    `multiboard_sync_stage_${j1}_1`,
  ])
})

it('test 14: undo works after a second swap and after new references from outside; an undo is undone; a watched previous is kept', async () => {
  await using place = await open(family)
  await swap(place, await stage(place, j1, ['parent', 'child'], twins))
  const second = (schema: string) =>
    `${parent(schema)} ${child(schema)} insert into ${schema}.parent values (1, 'third'), (9, 'third');`
  await swap(place, await stage(place, j2, ['parent', 'child'], second))
  // Of the first swap nothing is left to go back to but its safety backup.
  expect(await findUndoable(place.target.session, j1)).toMatchObject({
    previous: undefined,
    safetyBackup: `backup of ${j1}`,
  })
  await place.rows('insert into public.outer_child values (99, 9)')
  const refused = await failure(undoJob(place, j2, j3))
  expect([refused.code, ...refused.details]).toEqual([
    'constraint-violated',
    'foreign key of public.outer_child "outer_child_fkey"',
  ])
  await place.rows('delete from public.outer_child where id = 99')
  await place.rows('alter table public.child add column extra int')
  const altered = await failure(undoJob(place, j2, j3))
  expect(altered.code).toBe('schema-changed')
  expect(altered.details).toContain('was: column public child extra')
  await place.rows('alter table public.child drop column extra')

  await undoJob(place, j2, j3)
  expect(await place.rows('select note from public.parent order by id')).toEqual(['new', 'newer'])
  expect((await failure(findUndoable(place.target.session, j2))).message).toContain(`by job ${j3}`)
  await place.rows(`create function public.f() returns trigger language plpgsql as 'begin return null; end'`)
  await place.rows(`create constraint trigger watch after insert on public.region from multiboard_sync_prev_${j3}_1.parent
    for each row execute function public.f()`)
  const error = await failure(undoJob(place, j3, j4))
  expect([error.code, error.details.join()]).toEqual(['schema-changed', expect.stringContaining('watch')])
  expect((await dropPrevious(place.target.session, [])).kept).toMatchObject([{ job: j3 }])
  await place.rows('drop trigger watch on public.region')
  await undoJob(place, j3, j4)
  expect(await place.rows('select note from public.parent order by id')).toEqual(['third', 'third'])
})

test.runIf(major >= 18)(
  'Keys over a PERIOD, keys that are not enforced and those of partitioned tables outside come back as they were',
  async () => {
    const make = (
      schema: string,
    ) => `create table ${schema}.stay (id int4range, at daterange, room int4range, primary key (id, at without overlaps));
    create table ${schema}.plain (id int primary key);`
    const outward = (schema: string) =>
      `alter table ${schema}.stay add constraint stay_room foreign key (room, period at) references public.room (id, period at);`
    const rows = (schema: string) =>
      `insert into ${schema}.stay values ('[1,2)', '[2026-01-01,2026-02-01)', '[1,2)'); insert into ${schema}.plain values (1);`
    await using place = await open(`
    create table public.room (id int4range, at daterange, primary key (id, at without overlaps));
    insert into public.room values ('[1,2)', '[2026-01-01,2027-01-01)');
    ${make('public')} ${outward('public')} ${rows('public')}
    create table public.meal (stay int4range, at daterange, plain int,
      constraint meal_stay foreign key (stay, period at) references public.stay (id, period at),
      constraint meal_plain foreign key (plain) references public.plain not enforced);
    insert into public.meal values ('[1,2)', '[2026-01-05,2026-01-06)', 99);
    create table public.split (id int) partition by list (id); create table public.split_1 partition of public.split for values in (1);
    alter table public.split add constraint split_plain foreign key (id) references public.plain; insert into public.split values (1);`)
    const before = await readFingerprint(place.target.session)
    await swap(place, await stage(place, j1, ['stay', 'plain'], (schema) => `${make(schema)} ${rows(schema)}`))
    expect(await readFingerprint(place.target.session)).toEqual(before)
    await expect(place.rows(`insert into public.meal values ('[7,8)', '[2026-01-05,2026-01-06)', 99)`)).rejects.toThrow(
      'meal_stay',
    )
    // The server itself checks a PERIOD: a row whose time is not covered fails the exchange.
    const short = (schema: string) => `${make(schema)} ${rows(schema).replaceAll('2026-02-01', '2026-01-03')}`
    const error = await failure(exchange(place.target, await stage(place, j2, ['stay', 'plain'], short), place.run))
    expect(error.code).toBe('constraint-violated')
    expect(await readFingerprint(place.target.session)).toEqual(before)
  },
)

test('Without the right to what has to be made again everything is rolled back, and the target is untouched', async () => {
  const [agent, owner] = [`agent_${major}_x`, `owner_${major}_x`]
  await using place = await open(family.replace(/create view public.over_notes[^;]*;/, ''))
  await place.rows(`create role ${agent} login password 'x'; create role ${owner}; grant all on schema public to ${agent};
    grant create on database "${place.database.name}" to ${agent}`)
  await place.rows(`alter table public.parent owner to ${agent}; alter table public.child owner to ${agent};
    alter table public.outer_child owner to ${agent}; alter table public.region owner to ${agent};
    alter view public.notes owner to ${owner}; grant select on public.parent to ${owner}`)
  const signal = AbortSignal.timeout(30_000)
  const url = new URL(place.database.url)
  url.username = agent
  url.password = 'x'
  {
    await place.target[Symbol.asyncDispose]()
    await using target = await openTarget({ name: 'staging', url: url.href, viaProxy: false }, signal)
    const asAgent = { ...place, target }
    const granted = (schema: string) => `${twins(schema)} grant select on ${schema}.parent to ${owner};`
    const change = await stage(asAgent, j1, ['parent', 'child'], granted)
    expect((await failure(exchange(target, change, place.run))).code).toBe('permission-denied')
    await isUntouched(place)
    await place.rows(`alter view public.notes owner to ${agent}`)
    const { sha256 } = await readFingerprint(target.session, { keys: 'unvalidated' })
    await place.rows(`revoke create on database "${place.database.name}" from ${agent}`)
    expect((await failure(exchange(target, { ...change, fingerprint: sha256 }, place.run))).code).toBe(
      'permission-denied',
    )
    await isUntouched(place)
    await place.rows(`grant create on database "${place.database.name}" to ${agent}`)
    await exchange(
      target,
      { ...change, fingerprint: (await readFingerprint(target.session, { keys: 'unvalidated' })).sha256 },
      place.run,
    )
    expect(await place.rows('select note from public.notes order by 1')).toEqual(['new', 'newer'])
  }
  await place.rows(
    `reassign owned by ${agent}, ${owner} to current_user; drop owned by ${agent}, ${owner}; drop role ${agent}, ${owner}`,
  )
})

test('Receipts of an earlier version are kept and widened; where nothing is missing no right to create is needed', async () => {
  await using place = await open(`${parent('public')} insert into public.parent values (1, 'old');
    create schema multiboard_sync;
    create table multiboard_sync.fence (target text primary key, fence bigint not null);
    create table multiboard_sync.receipts (job text primary key, epoch bigint not null, fence bigint not null, archive text not null,
      safety_backup text, engine text not null, tables integer not null, row_count bigint not null,
      committed_at timestamptz not null default clock_timestamp());
    insert into multiboard_sync.receipts values ('${j4}', 1, 0, 'a', null, 'truncate', 1, 1);
    insert into multiboard_sync.fence values ('staging', 7)`)
  const { session } = place.target
  expect(await readReceipt(session, j4)).toMatchObject({ engine: 'truncate' })
  expect((await failure(findUndoable(session, j4))).code).toBe('nothing-to-undo')
  const { receipt } = await swap(place, await stage(place, j1, ['parent'], (schema) => `${parent(schema)}`))
  expect(receipt.fence).toBe(7)
  expect(await readReceipt(session, j1)).toMatchObject({ fence: 7, engine: 'swap', archive: `archive of ${j1}` })
  expect(await findUndoable(session, j4)).toMatchObject({ engine: 'truncate', previous: undefined })
  await place.rows('create role writer_x nologin; grant usage on schema multiboard_sync to writer_x')
  await place.rows('grant select, insert, update, delete on all tables in schema multiboard_sync to writer_x')
  await session.run('set role writer_x')
  expect(await takeFence(session, { job: j2, fence: 8, target: 'staging' })).toBe(8)
  expect((await failure(takeFence(session, { job: j2, fence: 6, target: 'staging' }))).code).toBe('fence-superseded')
  expect((await failure(takeFence(session, { job: j1, fence: 9, target: 'staging' }))).code).toBe('already-done')
  await session.run('reset role')
  await place.rows('drop owned by writer_x; drop role writer_x')
})

test('Readers with prepared statements on a table and on a view over it go on without an error, never with a mixture', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins, { lockAttempts: 20 })
  const readers = await Promise.all([place.client(), place.client()])
  let isOver = false
  const seen = new Set<string>()
  const reading = readers.map(async (reader) => {
    while (!isOver) {
      await reader.query('begin')
      const table = await reader.query({ name: 't', text: 'select note from public.parent order by id' })
      const view = await reader.query({ name: 'v', text: 'select note from public.notes order by id' })
      await reader.query('commit')
      const notes = (rows: { note: string }[]) => rows.map(({ note }) => note).join()
      seen.add(`${notes(table.rows)} | ${notes(view.rows)}`)
    }
  })
  try {
    await swap(place, change)
    await undoJob(place, j1, j2, 20)
  } finally {
    isOver = true
    await Promise.all(reading)
  }
  for (const both of seen) expect(['old | old', 'new,newer | new,newer']).toContain(both)
})

test('A key that could not be validated is remembered, told, and validated the next time', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins)
  const exchanged = await exchange(place.target, change, place.run)
  const pending = ['public outer_child outer_child_fkey']
  const asked = 'select schema_name, table_name, constraint_name from multiboard_sync.to_validate'
  expect(await place.rows(asked)).toEqual(pending)
  const blocker = await place.client()
  await blocker.query('begin; lock table public.outer_child in access exclusive mode')
  const { session } = place.target
  await session.run('set lock_timeout = 20')
  expect(await validateKeys(session)).toEqual([expect.stringContaining('public.outer_child "outer_child_fkey"')])
  expect(await place.rows(asked)).toEqual(pending)
  await blocker.query('rollback')
  await afterSwap(place.target, exchanged, place.run)
  expect(await place.rows(asked)).toEqual([])
  expect(await place.rows(`select convalidated from pg_constraint where conname = 'outer_child_fkey'`)).toEqual([
    'true',
  ])
})

test('A job whose lease runs out before the commit, or whose fence is superseded, leaves the target untouched', async () => {
  await using place = await open(family)
  const change = await stage(place, j1, ['parent', 'child'], twins)
  const lost = { ...unlimitedLease, remainingMs: () => -1 }
  expect((await failure(exchange(place.target, change, { ...place.run, lease: lost }))).code).toBe('lease-lost')
  await isUntouched(place)
  await exchange(place.target, { ...change, fence: 5 }, place.run)
  const later = await stage(place, j2, ['parent', 'child'], twins)
  expect((await failure(exchange(place.target, { ...later, fence: 4 }, place.run))).code).toBe('fence-superseded')
  expect(await place.rows('select note from public.parent order by id')).toEqual(['new', 'newer'])
})
