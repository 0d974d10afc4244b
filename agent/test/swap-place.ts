import { setTimeout as sleep } from 'node:timers/promises'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import type pg from 'pg'
import { expect } from 'vitest'
import { readFingerprint } from '../src/postgres/fingerprint.ts'
import { openTarget, type Target } from '../src/postgres/open-target.ts'
import { readSnapshotMark } from '../src/postgres/snapshot-gate.ts'
import { unlimitedLease } from '../src/report/lease.ts'
import type { RestoreRun } from '../src/restore/load.ts'
import { asideOf, createAside } from '../src/restore/stage/aside.ts'
import { afterSwap } from '../src/restore/swap/after-swap.ts'
import type { Exchange, Exchanged } from '../src/restore/swap/change.ts'
import { exchange } from '../src/restore/swap/exchange.ts'
import { findUndoable, undo } from '../src/restore/undo.ts'

/*
 * For tests of the exchange alone: a database, a stage made by hand, and a run that writes down what it is told.
 */

interface Told {
  type: string
  data: Record<string, unknown>
}

/** One database, its target session, and what the run told. */
export interface Place extends AsyncDisposable {
  database: TestDatabase
  target: Target
  run: RestoreRun
  told: Told[]
  steps: string[]
  /** A superuser's connection of its own. */
  client: () => Promise<pg.Client>
  rows: (sql: string) => Promise<unknown[]>
}

export async function open(sql: string): Promise<Place> {
  const database = await createDatabase({ sql })
  const signal = AbortSignal.timeout(55_000)
  const target = await openTarget({ name: 'staging', url: database.url, viaProxy: false }, signal)
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
    rows: async (query) => {
      // Of several statements the last one answers.
      const results = [await client.query({ text: query, rowMode: 'array' })].flat()
      return results.at(-1)?.rows.map((row: unknown[]) => row.join(' ')) ?? []
    },
    [Symbol.asyncDispose]: async () => {
      await target[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** Makes a stage by hand: `make` is given the schema of the twins. Answers the exchange that swaps it in. */
export async function stage(
  place: Pick<Place, 'target'>,
  job: string,
  tables: string[],
  make: (schema: string, other: string) => string,
  over: Partial<Exchange> = {},
): Promise<Exchange> {
  const { session } = place.target
  const names = tables.map((name) => (name.includes('.') ? name.split('.') : ['public', name]))
  const incoming = asideOf(
    'stage',
    job,
    names.map(([schema = '']) => schema),
  )
  await createAside(session, incoming)
  const [first = '', second = ''] = incoming.schemas.values()
  await session.run(make(first, second))
  return {
    job,
    epoch: 1,
    fence: undefined,
    tables: names.map(([schema = '', name = '']) => ({ schema, name })),
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

export async function swap(place: Place, change: Exchange): Promise<Exchanged> {
  const exchanged = await exchange(place.target, change, place.run)
  await afterSwap(place.target, exchanged, place.run)
  return exchanged
}

export async function undoJob(place: Place, job: string, own: string, lockAttempts = 2) {
  const undoable = await findUndoable(place.target.session, job)
  return await undo(place.target, { undoable, job: own, epoch: 1, fence: undefined, lockAttempts }, place.run)
}

/** Until the exchange waits for a lock behind somebody. */
export async function waitForLock(place: Place): Promise<void> {
  const asked = `select count(*) from pg_locks where pid = ${place.target.session.backendPid} and not granted`
  const until = Date.now() + 20_000
  while ((await place.rows(asked))[0] === '0') {
    if (Date.now() > until) throw new Error('the exchange has never waited for a lock')
    await sleep(5)
  }
}

/** Until new snapshots are younger than the mark: whoever writes on this server for longer, in any database, ages them all. */
export async function waitForYoungSnapshots(place: Place, mark: string): Promise<void> {
  const asked = `select pg_snapshot_xmin(pg_current_snapshot())::text::numeric >= ${mark}`
  const until = Date.now() + 40_000
  while ((await place.rows(asked))[0] !== 'true') {
    if (Date.now() > until) throw new Error('a transaction that writes has been open on this server for 40 s')
    await sleep(50)
  }
}

export async function failure(work: Promise<unknown>): Promise<SyncError> {
  const error = await work.then(
    () => 'nothing was thrown',
    (thrown: unknown) => thrown,
  )
  if (!(error instanceof SyncError)) throw error
  return error
}

export const [j1, j2, j3, j4] = ['j000000000001', 'j000000000002', 'j000000000003', 'j000000000004']

export const parent = (schema: string) => `
  create table ${schema}.parent (id serial primary key, note text not null);
  comment on table ${schema}.parent is 'parents';`
export const child = (schema: string) => `
  create table ${schema}.child (id int primary key, parent_id int references ${schema}.parent);
  create index child_parent on ${schema}.child (parent_id);`
export const outside = `
  create table public.outer_child (id int primary key, parent_id int);
  alter table public.outer_child add constraint outer_child_fkey foreign key (parent_id) references public.parent on delete cascade;
  comment on constraint outer_child_fkey on public.outer_child is 'of the outer child';
  create table public.region (id int primary key);
  insert into public.region values (1), (2);
  create view public.notes with (security_barrier = true) as select id, note from public.parent where note <> '';
  create view public.over_notes as select count(*) from public.notes;`

/** What everybody may see of the database: rows of the tables, and that nothing of ours is left but receipts. */
export async function isUntouched(place: Place): Promise<void> {
  expect(await place.rows('select note from public.parent')).toEqual(['old'])
  expect(await place.rows('select count(*) from public.notes')).toEqual(['1'])
  expect(await place.rows(`select nspname from pg_namespace where nspname ~ '^multiboard_sync_prev'`)).toEqual([])
}

export const family = `${parent('public')} ${child('public')} ${outside}
  insert into public.parent values (1, 'old');
  insert into public.child values (1, 1);
  insert into public.outer_child values (7, 1);`
export const twins = (schema: string) => `${parent(schema)} ${child(schema)}
  insert into ${schema}.parent values (1, 'new'), (2, 'newer');
  insert into ${schema}.child values (5, 1);`

export const cascading = (schema: string) => `
  create table ${schema}.city (id int primary key, region_id int);`
export const toRegion = (schema: string) => `
  alter table ${schema}.city add constraint city_fkey foreign key (region_id) references public.region on delete cascade;`
export const regions = `create table public.region (id int primary key); insert into public.region values (1), (2);`
