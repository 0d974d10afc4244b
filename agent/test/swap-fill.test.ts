import { setTimeout as sleep } from 'node:timers/promises'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { describe, expect, test } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { archiveFeed } from '../src/feed/archive-feed.ts'
import type { Feed } from '../src/feed/feed.ts'
import { createTrace } from '../src/lanes/trace.ts'
import { schemasOf } from '../src/postgres/swap-set/swap-set.ts'
import { asideOf, type Aside } from '../src/restore/stage/aside.ts'
import { makeStage, type Staged } from '../src/restore/stage/make-stage.ts'
import type { Target } from '../src/postgres/open-target.ts'
import { handFeed, numbers } from './stage/hand-feed.ts'
import { archiveOf, fillFrom, open, prove, setOf, telling, type Told } from './stage/try-stage.ts'

/* The filling of a stage: what begins when, what waits for what, and what happens to all when one fails. */

const JOB = 'j4k7q2m9xw1ab'
const WAIT_MS = 20_000

interface Place extends AsyncDisposable {
  database: TestDatabase
  opened: Target
  staged: Staged
  stage: Aside
  told: Told
}

async function openPlace(sql: string): Promise<Place> {
  await using made = new AsyncDisposableStack()
  const database = made.use(await createDatabase({ sql }))
  const opened = made.use(await open(database.url))
  const set = await setOf(opened.session)
  const stage = asideOf('stage', JOB, schemasOf(set))
  const told = telling()
  const staged = await makeStage(opened, set, stage, told.run)
  const owned = made.move()
  return { database, opened, staged, stage, told, [Symbol.asyncDispose]: async () => await owned.disposeAsync() }
}

const TWO = `create table public.a (id int, x int); create index a_id on public.a (id);
  create table public.b (id int primary key);`

test.each([
  ['big', 5_000_000],
  ['small', 5_000],
])('an index of a %s table is built while another table is still loaded', async (_, bytes) => {
  await using place = await openPlace(TWO)
  const { opened, staged, told } = place
  const trace = createTrace()
  const isBuilt = (): boolean =>
    told.events.some(({ type, data }) => type === 'index.built' && data['index'] === 'a_id')
  const tables = [
    { name: 'a', columns: ['id'], pieces: [numbers(1, 100)], bytes },
    { name: 'b', columns: ['id'], pieces: [numbers(1, 100), numbers(101, 200)] },
  ]
  const feed = handFeed(tables, async ({ table, n }) => {
    if (table.name === 'b' && n === 1) await until('the index of the other table', WAIT_MS, async () => isBuilt())
  })
  const { prepared, found } = await fillFrom(opened, staged, feed, { ...told.run, trace })
  expect([...found]).toEqual([
    ['public.a', { rows: 100 }],
    ['public.b', { rows: 200 }],
  ])
  const spans = trace.spans()
  const index = spans.find(({ kind, name }) => kind === 'index' && (name === 'a_id' || name === 'small tables'))
  const lastCopy = spans.findLast(({ kind, name }) => kind === 'copy' && name === 'public.b')
  // That it was built by then is what the last piece has waited for; a small table is also counted in the same span.
  expect(index?.begin_ms).toBeLessThanOrEqual(lastCopy?.end_ms ?? 0)
  expect(prepared.indexes.map(({ name }) => name)).toEqual(['a_id', 'b_pkey'])
})

test('when one table fails, what is under way for the others is stopped, and no connection is left', async () => {
  await using place = await openPlace(TWO.replace('create index', 'create unique index'))
  const { database, opened, staged, told } = place
  const tables = [
    { name: 'a', columns: ['id'], pieces: [`${numbers(1, 5)}5\n`] },
    { name: 'b', columns: ['id'], pieces: [numbers(1, 100)] },
  ]
  // These rows never come.
  const feed = handFeed(tables, async ({ table }, _attempt, signal) => {
    if (table.name === 'b') await sleep(WAIT_MS, undefined, { ref: false, signal })
  })
  const began = performance.now()
  const filling = fillFrom(opened, staged, feed, told.run)
  await expect(filling).rejects.toMatchObject({ code: 'constraint-violated' })
  expect(performance.now() - began).toBeLessThan(WAIT_MS)
  const client = await database.client()
  await until('the sessions of the stage to end', WAIT_MS, async () => {
    const { rows } = await client.query(
      `select from pg_stat_activity where datname = current_database() and application_name = 'multiboard-sync stage'`,
    )
    return rows.length === 0
  })
})

/** Every shape in which tables can wait for each other's keys. */
const KNOT = `
create table public.egg (id int primary key, hen int);
create table public.hen (id int primary key, egg int references public.egg);
alter table public.egg add foreign key (hen) references public.hen deferrable initially deferred;
create table public.person (id int primary key, boss int references public.person, friend int references public.person);
create table public.trip (id int primary key, out int references public.hen, back int references public.hen, who int references public.person);
create unique index trip_pair on public.trip (out, back);
create table public.stop (out int, back int, n int, foreign key (out, back) references public.trip (out, back), trip int references public.trip, primary key (out, back, n));
create table public.part (id int, hen int references public.hen, next int, primary key (id)) partition by hash (id);
create table public.part_0 partition of public.part for values with (modulus 2, remainder 0);
create table public.part_1 partition of public.part for values with (modulus 2, remainder 1);
alter table public.part add foreign key (next) references public.part;
alter table public.part_1 add constraint own foreign key (next) references public.egg not valid;
create table public.reads (part int references public.part, trip int references public.trip);
create table public.parent (id int primary key);
create table public.child (hen int references public.hen) inherits (public.parent);
insert into public.egg values (1, null), (2, null); insert into public.hen values (1, 1), (2, 2); update public.egg set hen = id;
insert into public.person values (1, 1, 1), (2, 1, 2); insert into public.trip values (1, 1, 2, 1), (2, 2, 1, 2);
insert into public.stop values (1, 2, 1, 1); insert into public.part values (1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 2, 2);
insert into public.reads values (1, 1), (4, 2); insert into public.parent values (1); insert into public.child values (7, 1);`

/** Pieces that take their time, another one each round. */
function slowed(feed: Feed, seed: number): Feed {
  const delayMs = (name: string): number => (Array.from(name).reduce((sum, c) => sum + c.charCodeAt(0), 0) * seed) % 60
  return {
    ...feed,
    pour: async (piece, ...rest) => {
      await sleep(delayMs(piece.table.name))
      return await feed.pour(piece, ...rest)
    },
  }
}

describe('keys in a circle, to itself, and several between the same tables', () => {
  test.each([
    [1, 1],
    [17, 1e6],
    [41, 1e6],
  ])('stand and are valid in whatever order the tables are loaded (%i), small or big (%i)', async (seed, size) => {
    await using place = await openPlace(KNOT)
    const { opened, staged, told } = place
    const run = { ...told.run, connections: 4 }
    const { tables, archive } = await archiveOf(opened.session, staged.set)
    const feed = archiveFeed(
      archive,
      tables.map((table) => ({ ...table, bytes: table.bytes * size })),
    )
    const { prepared, found } = await fillFrom(opened, staged, slowed(feed, seed), run)
    const proof = await prove(opened, prepared, { tables, found }, run)
    expect(proof.every(({ checksum }) => checksum === 'equal')).toBe(true)
    const counted = async (schemas: string): Promise<unknown> =>
      await opened.session.query(
        `select k.conname as name, k.convalidated as valid, c.relname as on
         from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
         where k.contype = 'f' and n.nspname ~ $1 order by 1, 3`,
        [schemas],
      )
    expect(await counted('^multiboard_sync_stage')).toEqual(await counted('^public$'))
    // Who waited for whom waited in the agent.
    expect(told.events.filter(({ type }) => type === 'stage.retried')).toEqual([])
  })
})
