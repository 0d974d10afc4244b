import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase, templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'

import { readTables } from '../src/postgres/catalog.ts'

import { mergeBlockers, mergeWaits } from '../src/postgres/merge-blockers.ts'

import { openSession } from '../src/postgres/session.ts'
import { bringInto, exportFrom, failure, type Brought, type How } from './road/bring-into.ts'
import { readState } from './road/compare-databases.ts'
import { shapesFor, sourceRowsFor, targetRowsFor, TEAM, TEAM_CHANGES, WATCH } from './road/merge-shapes.ts'
import { BELONGINGS, SHOP, SHOP_ROWS } from './road/values-belongings.ts'
import { openWorld, type World } from './road/world.ts'

const DEADLINE_MS = 60_000
const MAJOR = inject('postgres').major

let world: World
/** The shop's archive. */
let shopArchive: string
let shopTemplate: string
/** The team's, with TEAM_CHANGES. */
let teamArchive: string

beforeAll(async () => {
  world = await openWorld({ source: { sql: `${SHOP}${SHOP_ROWS}` } })
  shopArchive = await exportOf(world.source)
  await using changed = await team(TEAM_CHANGES)
  teamArchive = await exportOf(changed)
  shopTemplate = await templateDatabase('a shop with belongings', async (database) => {
    const client = await database.client()
    for (const sql of [SHOP, SHOP_ROWS, BELONGINGS]) await client.query(sql)
    await client.end()
  })
})
afterAll(async () => await world[Symbol.asyncDispose]())

const exportOf = async (source: TestDatabase) => await exportFrom(world, source)
const bring = async (target: { url: string }, archive: string, how?: How) =>
  await bringInto(world, target, archive, how)

const merged = (result: Brought, table: string) =>
  result.events.find(({ type, data }) => type === 'table.merged' && data['table'] === table)?.data

const STAGES = `select nspname from pg_namespace where nspname like 'multiboard\\_sync\\_stage%'`

async function expectNoStage(target: TestDatabase): Promise<void> {
  const client = await target.client()
  expect((await client.query(STAGES)).rows).toEqual([])
}

const SHOP_TABLES = ['shop.customer', 'shop.Order', 'shop.event_a', 'shop.event_rest']

const TEAM_TABLES = ['t.person', 't.task']

/** As the team's target, with `sql` run in it, one statement after the other. */
async function team(sql = ''): Promise<TestDatabase> {
  const template = await templateDatabase('a team', async (database) => {
    const client = await database.client()
    await client.query(TEAM)
    await client.end()
  })
  const database = await createDatabase({ template })
  const client = await database.client()
  for (const statement of sql.split(';')) await client.query(statement)
  await client.end()
  return database
}

describe('merge', () => {
  it('leaves a target as truncate does, with all that belongs to it', async () => {
    await using one = await createDatabase({ template: shopTemplate })
    await using other = await createDatabase({ template: shopTemplate })
    const result = await bring(one, shopArchive, { tables: SHOP_TABLES })
    await bring(other, shopArchive, { tables: SHOP_TABLES, engine: 'truncate' })
    expect(await readState(one.url)).toEqual(await readState(other.url))
    expect(result.proof).toHaveLength(4)
    expect(result.receipt).toMatchObject({ engine: 'merge' })
    expect(result.steps).toEqual(['staging', 'staged', 'loaded', 'built', 'proven', 'committing', 'tidied'])
    expect(merged(result, 'shop.customer')).toMatchObject({ inserted: 0, updated: 40, deleted: 0 })
    await expectNoStage(one)
  })

  it('makes rows of every shape those of the archive, as truncate does', async () => {
    const shapes = await templateDatabase('tables that are hard to merge', async (database) => {
      const client = await database.client()
      await client.query(`do $do$ begin create role merge_owner login password 'merge';
        exception when duplicate_object or unique_violation then null; end $do$`)
      await client.query(`grant create on database ${database.name} to merge_owner; set role merge_owner`)
      await client.query(shapesFor(MAJOR))
      await client.end()
    })
    await using source = await createDatabase({ template: shapes })
    await using one = await createDatabase({ template: shapes })
    await using other = await createDatabase({ template: shapes })
    for (const [database, rows] of [
      [source, sourceRowsFor(MAJOR)],
      [one, targetRowsFor(MAJOR)],
      [other, targetRowsFor(MAJOR)],
    ] as const) {
      const client = await database.client()
      await client.query('begin; set constraints all deferred')
      await client.query(rows)
      await client.query('commit')
      await client.query(WATCH)
      await client.end()
    }
    const archive = await exportOf(source)
    // Not as a superuser: as the role that everything belongs to.
    await (await one.client()).query(`grant create on database ${one.name} to merge_owner`)
    const url = new URL(one.url)
    Object.assign(url, { username: 'merge_owner', password: 'merge' })
    const result = await bring({ url: url.href }, archive)
    await bring(other, archive, { engine: 'truncate' })

    const state = await readState(one.url)
    expect(state).toEqual(await readState(other.url))
    expect(state.tables).toMatchObject((await readState(source.url)).tables)
    expect(merged(result, 'm.gen')).toMatchObject({ inserted: 1, updated: 1, deleted: 1 })
    expect(merged(result, 'm.fixed')).toMatchObject({ inserted: 1, updated: 1, deleted: 1 })
    expect(merged(result, 'm.ci')).toMatchObject({ inserted: 1, updated: 1, deleted: 1 })
    expect(merged(result, 'm.odd')).toMatchObject({ inserted: 0, updated: 2, deleted: 0 })
    expect(merged(result, 'm.just_key')).toMatchObject({ inserted: 1, updated: 0, deleted: 1 })
    expect(merged(result, 'm.mid')).toMatchObject({ inserted: 1, updated: 1, deleted: 1 })
    expect(merged(result, 'm.self')).toMatchObject({ inserted: 2, updated: 1, deleted: 2 })
    expect(merged(result, 'm.uniq')).toMatchObject({ inserted: 1, updated: 2, deleted: 1 })
    expect(merged(result, 'm.none')).toMatchObject({ inserted: 0, updated: 0, deleted: 0 })
    // Again: nothing is left to change.
    const again = await bring(one, archive)
    expect(again.events.filter(({ type, data }) => type === 'table.merged' && sum(data) > 0)).toEqual([])
    expect(await readState(one.url)).toEqual(state)
  })

  it('keeps the values of columns that only the target has, and gives new rows their default', async () => {
    await using source = await createDatabase({
      sql: `create table plain (id int primary key, v text); create table uniq (id int primary key, code text);
        insert into plain values (1, 'same'), (2, 'changed'), (3, 'new'); insert into uniq values (1, 'b'), (2, 'a'), (3, 'c');`,
    })
    await using target = await createDatabase({
      sql: `create table plain (id int primary key, v text, own text default 'default', n int generated always as identity (start 100));
        create table uniq (own text not null default 'default', id int primary key, code text unique, n int generated always as identity (start 100));
        insert into plain (id, v, own) values (1, 'same', 'a'), (2, 'old', 'b'); insert into uniq (id, code, own) values (1, 'a', 'a'), (2, 'b', 'b');`,
    })
    await bring(target, await exportOf(source))
    const client = await target.client()
    expect((await client.query('select * from plain order by id')).rows).toEqual([
      { id: 1, v: 'same', own: 'a', n: 100 },
      { id: 2, v: 'changed', own: 'b', n: 101 },
      { id: 3, v: 'new', own: 'default', n: 102 },
    ])
    expect((await client.query('select * from uniq order by id')).rows).toEqual([
      { id: 1, code: 'b', own: 'a', n: 100 },
      { id: 2, code: 'a', own: 'b', n: 101 },
      { id: 3, code: 'c', own: 'default', n: 102 },
    ])
  })

  it('R2: a row outside that refers to one that goes is never changed by its key', async () => {
    const keys = [
      'on delete cascade',
      'on delete set null on update cascade',
      'on update restrict',
      'deferrable',
      'on delete cascade deferrable initially deferred',
    ]
    const tables = [...keys, 'on delete set default not valid'].map(
      (key, n) => `create table t.outside_${n} (id int primary key, person int default 1);
        insert into t.outside_${n} select n, n from generate_series(15, 19) n;
        alter table t.outside_${n} add constraint to_person_${n} foreign key (person) references t.person ${key}`,
    )
    await using target = await team(tables.join(';'))
    const client = await target.client()
    await client.query('insert into t.outside_5 values (20, 20)')
    const versions = async () =>
      (
        await client.query(
          tables.map((_, n) => `select ${n}, xmin, ctid, id, person from t.outside_${n}`).join(' union all '),
        )
      ).rows
    for (const [n, key] of keys.entries()) {
      await client.query(`insert into t.outside_${n} values (20, 20)`)
      const before = await readState(target.url)
      const error = await failure(bring(target, teamArchive, { tables: TEAM_TABLES }))
      expect(error, key).toMatchObject({ code: 'constraint-violated' })
      expect(error.message, key).toContain(`to_person_${n}`)
      expect(await readState(target.url), key).toEqual(before)
      await client.query(`delete from t.outside_${n} where id = 20`)
    }
    await expectNoStage(target)
    const before = await versions()
    const result = await bring(target, teamArchive, { tables: TEAM_TABLES })
    expect(await versions()).toEqual(before)
    expect(result.events.filter(({ type }) => type === 'keys.dropped').map(({ data }) => data['keys'])).toEqual([
      ['to_person_5 of t.outside_5'],
    ])
  })

  it('leaves everything as it was when the target alone forbids a row', async () => {
    await using target = await team()
    const client = await target.client()
    for (const [forbid, allow] of [
      ['create unique index of_target on t.person (name)', 'drop index t.of_target'],
      ['alter table t.person add constraint of_target unique (name) deferrable initially deferred'],
      ['alter table t.person add constraint of_target exclude using btree (name with =)'],
      [
        `create table t.names_of as select name from t.person; alter table t.names_of add primary key (name);
         alter table t.person add constraint of_target foreign key (name) references t.names_of`,
      ],
      [`alter table t.person add constraint of_target check (name <> 'changed')`],
    ]) {
      await client.query(forbid ?? '')
      const before = await readState(target.url)
      const error = await failure(bring(target, teamArchive, { tables: TEAM_TABLES }))
      expect(error, forbid).toMatchObject({ code: 'constraint-violated' })
      expect(error.message, forbid).toContain('of_target')
      expect(await readState(target.url), forbid).toEqual(before)
      await client.query(allow ?? 'alter table t.person drop constraint of_target')
    }
    await expectNoStage(target)
  })

  it('R1: no reader waits for it, and a snapshot that is older keeps its rows', async () => {
    await using target = await team()
    const old = await target.client()
    const now = await target.client()
    const readSql = `select (select count(*)::int from t.person) as people, (select count(*)::int from t.names where name = 'changed') as changed,
      (select count(*)::int from t.task) as tasks, (select n::int from t.counted) as counted`
    const [before, after] = [
      { people: 20, changed: 0, tasks: 20, counted: 20 },
      { people: 20, changed: 5, tasks: 19, counted: 20 },
    ]
    await old.query('begin isolation level repeatable read; select count(*) from pg_class')
    await now.query(`set lock_timeout = '100ms'`)
    const modes: string[] = []
    const waitUntilValid = async (): Promise<void> => {
      // Everything is done but the commit: all its locks are held.
      expect((await now.query(readSql)).rows).toEqual([before])
      expect((await now.query('select count(*)::int as n from only t.plain')).rows).toEqual([{ n: 5 }])
      const { rows } = await now.query(`select distinct mode from pg_locks l join pg_class c on c.oid = l.relation
        join pg_namespace n on n.oid = c.relnamespace where n.nspname = 't' and l.pid <> pg_backend_pid()`)
      modes.push(...rows.map(({ mode }: { mode: string }) => mode))
      await expect(now.query('update t.task set person = 1')).rejects.toMatchObject({ code: '55P03' })
    }
    const result = await bring(target, teamArchive, {
      tables: TEAM_TABLES,
      run: { lease: { remainingMs: () => DEADLINE_MS, waitUntilValid } },
    })
    expect(modes).toContain('ShareRowExclusiveLock')
    expect(modes).not.toContain('AccessExclusiveLock')
    expect(result.events.filter(({ type }) => type === 'keys.dropped')).toEqual([])
    expect((await old.query(readSql)).rows).toEqual([before])
    await old.query('commit')
    expect((await old.query(readSql)).rows).toEqual([after])
  })

  it('R3: a child table alone is merged, and its parent counts every row once', async () => {
    await using target = await team(`insert into t.kid values (14, 'stray', 'stray')`)
    const client = await target.client()
    const count = async () => (await client.query('select count(*)::int as n from t.plain')).rows
    let during: unknown
    const protect = async (): Promise<void> => {
      during = await count()
    }
    await bring(target, teamArchive, { tables: ['t.kid'], protect })
    expect([during, await count()]).toEqual([[{ n: 9 }], [{ n: 7 }]])
  })

  it('waits for whoever writes to the tables, and tries again', async () => {
    await using target = await team()
    const writer = await target.client()
    await writer.query(`begin; update t.person set name = 'late' where id = 7`)
    const onEvent = (type: string): void => {
      if (type === 'lock.waiting') void writer.query('commit')
    }
    const result = await bring(target, teamArchive, { tables: TEAM_TABLES, onEvent })
    expect(merged(result, 't.person')).toMatchObject({ inserted: 1, updated: 6, deleted: 1 })
  })

  it('changes nothing when the target is migrated, or its backup fails, while the rows are loaded', async () => {
    await using target = await team()
    const client = await target.client()
    const migrate = async (): Promise<void> => void (await client.query('alter table t.person add column late int'))
    expect(await failure(bring(target, teamArchive, { protect: migrate }))).toMatchObject({ code: 'schema-changed' })
    const before = await readState(target.url)
    const full = async (): Promise<void> => {
      throw new SyncError('archive-incomplete', 'The backup failed.')
    }
    expect(await failure(bring(target, teamArchive, { protect: full }))).toMatchObject({ code: 'archive-incomplete' })
    expect(await readState(target.url)).toEqual(before)
    await expectNoStage(target)
  })

  it('drops a key for the time being when checking it would read a table for every row that goes', async () => {
    await using source = await createDatabase({ sql: `create table up (id int primary key)` })
    await using target = await createDatabase({
      sql: `create table up (id int primary key); create table down (id int primary key, up int references up);
        insert into up select generate_series(1, 60000); insert into down select n from generate_series(1, 2500) n`,
    })
    const result = await bring(target, await exportOf(source))
    expect(result.events.find(({ type }) => type === 'keys.dropped')?.data).toMatchObject({
      keys: ['down_up_fkey of public.down'],
    })
    expect(merged(result, 'public.up')).toMatchObject({ deleted: 60000 })
  })

  it('is refused for what it cannot do, and says what readers would wait for', async () => {
    await using target = await createDatabase({
      sql: `create schema shop; create table shop.member (id int, name text, since date); create table bare (a int); create table one (a int primary key, b int);
        create table gen (a int, b int generated always as (a + 1) stored primary key);
        create rule nothing as on insert to one do instead nothing; create rule off as on update to one do nothing;
        alter table one disable rule off; create view seen as select * from bare;
        create table nameless (id int primary key); alter table nameless replica identity nothing; create publication p for table nameless;
        create table up (id int primary key, code int unique);
        create table down (id int primary key, up int references up on delete cascade, code int references up (code));`,
    })
    await using session = await openSession(
      { name: 'staging', url: target.url, viaProxy: false },
      { purpose: 'test', signal: AbortSignal.timeout(DEADLINE_MS) },
    )
    if (MAJOR >= 18) {
      await session.run('create table public.span (id int4range, at daterange, primary key (id, at without overlaps))')
    }
    const tables = await readTables(session)
    const oids = tables.map(({ oid }) => oid)
    const archived = tables.map((table) => ({ ...table, columns: table.columns.filter(({ name }) => name !== 'id') }))
    expect(await mergeBlockers(session, oids)).toEqual([
      'table public.bare has no primary key',
      'column b of the primary key of table public.gen is generated',
      'table public.nameless is published and has no replica identity',
      'rule nothing on table public.one acts when rows are written',
      ...(MAJOR >= 18 ? ['the primary key of table public.span is one WITHOUT OVERLAPS'] : []),
      'table shop.member has no primary key',
    ])
    expect(await mergeBlockers(session, oids, archived)).toContain(
      'column id of the primary key of table public.up is not in the archive',
    )
    expect(await mergeWaits(session, oids)).toEqual([
      'foreign key down_code_fkey of public.down is dropped and made again',
    ])
    expect(await failure(bring(target, shopArchive, { tables: ['shop.member'] }))).toMatchObject({
      code: 'unsupported-object',
      message: expect.stringContaining('shop.member'),
    })
    await expectNoStage(target)
  })
})

function sum({ inserted, updated, deleted }: Record<string, unknown>): number {
  return Number(inserted) + Number(updated) + Number(deleted)
}
