import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import type pg from 'pg'
import { expect, inject, test } from 'vitest'
import { openTarget, type Target } from '../src/postgres/open-target.ts'
import { readFingerprint } from '../src/postgres/fingerprint.ts'
import { readSnapshotMark } from '../src/postgres/snapshot-gate.ts'
import { unlimitedLease } from '../src/report/lease.ts'
import type { RestoreRun } from '../src/restore/load.ts'
import { asideOf, createAside } from '../src/restore/stage/aside.ts'
import { afterSwap } from '../src/restore/swap/after-swap.ts'
import type { Exchange, Exchanged } from '../src/restore/swap/change.ts'
import { exchange } from '../src/restore/swap/exchange.ts'
import { findUndoable, undo } from '../src/restore/undo.ts'

const { major } = inject('postgres')

interface Told {
  type: string
  data: Record<string, unknown>
}

/** One database, its target session, and what the run told. */
interface Place extends AsyncDisposable {
  database: TestDatabase
  target: Target
  run: RestoreRun
  told: Told[]
  steps: string[]
  /** A superuser's connection of its own. */
  client: () => Promise<pg.Client>
  rows: (sql: string) => Promise<unknown[]>
}

async function open(sql: string, url?: (database: TestDatabase) => string): Promise<Place> {
  const database = await createDatabase({ sql })
  const signal = AbortSignal.timeout(30_000)
  const target = await openTarget({ name: 'staging', url: url?.(database) ?? database.url, viaProxy: false }, signal)
  const told: Told[] = []
  const steps: string[] = []
  const client = await database.client()
  return {
    database,
    target,
    told,
    steps,
    run: {
      changing: () => void steps.push('changing'),
      changed: async () => void steps.push('changed'),
      reporter: {
        phase: (phase) => void steps.push(phase),
        event: (type, data = {}) => void told.push({ type, data }),
        progress: () => undefined,
      },
      lease: unlimitedLease,
      journal: { record: async (step) => void steps.push(step), [Symbol.asyncDispose]: async () => undefined },
      signal,
    },
    client: async () => await database.client(),
    rows: async (query) =>
      (await client.query({ text: query, rowMode: 'array' })).rows.map((row: unknown[]) => row.join(' ')),
    [Symbol.asyncDispose]: async () => {
      await target[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** Makes a stage by hand: `make` is given the schema of the twins. Answers the exchange that swaps it in. */
async function stage(
  place: Place,
  job: string,
  tables: string[],
  make: (schema: string) => string,
  over: Partial<Exchange> = {},
): Promise<Exchange> {
  const { session } = place.target
  const incoming = asideOf('stage', job, ['public'])
  await createAside(session, incoming)
  await session.run(make(incoming.schemas.get('public') ?? ''))
  return {
    job,
    epoch: 1,
    fence: undefined,
    tables: tables.map((name) => ({ schema: 'public', name })),
    incoming,
    fingerprint: (await readFingerprint(session, { keys: 'unvalidated' })).sha256,
    snapshotMark: await readSnapshotMark(session),
    archive: `archive of ${job}`,
    safetyBackup: `backup of ${job}`,
    rows: 1,
    writesBefore: undefined,
    raise: [],
    lockAttempts: 2,
    ...over,
  }
}

async function swap(place: Place, change: Exchange): Promise<Exchanged> {
  const exchanged = await exchange(place.target, change, place.run)
  await afterSwap(place.target, exchanged, place.run)
  return exchanged
}

async function undoJob(place: Place, job: string, own: string) {
  const undoable = await findUndoable(place.target.session, job)
  return await undo(place.target, { undoable, job: own, epoch: 1, fence: undefined, lockAttempts: 2 }, place.run)
}

async function failure(work: Promise<unknown>): Promise<SyncError> {
  const error = await work.then(
    () => 'nothing was thrown',
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof SyncError)) throw error
  return error
}

const [j1, j2, j3] = ['j000000000001', 'j000000000002', 'j000000000003']

const parent = (schema: string) => `
  create table ${schema}.parent (id serial primary key, note text not null);
  comment on table ${schema}.parent is 'parents';`
const child = (schema: string) => `
  create table ${schema}.child (id int primary key, parent_id int references ${schema}.parent);
  create index child_parent on ${schema}.child (parent_id);`
const outside = `
  create table public.outer_child (id int primary key, parent_id int);
  alter table public.outer_child add constraint outer_child_fkey foreign key (parent_id) references public.parent on delete cascade;
  comment on constraint outer_child_fkey on public.outer_child is 'of the outer child';
  create table public.region (id int primary key);
  insert into public.region values (1), (2);
  create view public.notes with (security_barrier = true) as select id, note from public.parent where note <> '';
  create view public.over_notes as select count(*) from public.notes;`

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
  expect(place.steps).toEqual(['swapping', 'committing', 'changing', 'changed'])
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
