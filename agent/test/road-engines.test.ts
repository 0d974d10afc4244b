import { createDatabase, templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { richSchema } from './postgres-rich-schema.ts'
import { readCopied, readState } from './road/compare-databases.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { BELONGINGS, SHOP, SHOP_ROWS } from './road/values-belongings.ts'
import { openWorld, type World } from './road/world.ts'

let world: World
let template: string
/** The source's archive, for jobs that need no new one. */
let archive: string

beforeAll(async () => {
  world = await openWorld({ source: { sql: `${SHOP}${SHOP_ROWS}` } })
  const exported = mustSucceed(await runJobHere(world, { kind: 'export', source: 'production' }))
  archive = exported.archive?.id ?? ''
  template = await templateDatabase('a shop with belongings', async (database) => {
    const client = await database.client()
    for (const sql of [SHOP, SHOP_ROWS, BELONGINGS]) await client.query(sql)
    await client.end()
  })
})
afterAll(async () => await world[Symbol.asyncDispose]())

/** The target's shop; `sql` is run in it. */
async function shop(sql?: string): Promise<TestDatabase> {
  return await createDatabase({ template, ...(sql === undefined ? {} : { sql }) })
}

async function syncInto(
  target: TestDatabase,
  engine: 'create' | 'truncate',
  source: TestDatabase = world.source,
  onEvent: (type: string) => void = () => undefined,
) {
  const env = { STAGING_DATABASE_URL: target.url, PRODUCTION_DATABASE_URL: source.url }
  return await runJobHere(world, { kind: 'sync', source: 'production', target: 'staging', engine }, { env, onEvent })
}

describe('truncate', () => {
  it('keeps all that belongs to the target, and sets nothing off', async () => {
    await using target = await shop()
    const before = await readState(target.url)
    const source = await readState(world.source.url)

    expect(mustSucceed(await syncInto(target, 'truncate'))).toMatchObject({ engine: 'truncate' })

    const after = await readState(target.url)
    expect(after.definitions).toEqual(before.definitions)
    expect(after.tables).toMatchObject(source.tables)
    expect(after.sequences).toEqual(source.sequences)
    for (const name of ['outside.audit', 'outside.region', 'outside.invoice', 'outside.log_x', 'outside.of_others']) {
      expect(after.tables[name]).toEqual(before.tables[name])
    }
    const client = await target.client()
    const { rows } = await client.query(`
      select (select sum(total) from outside.totals)::int as totals, (select n from outside.a_total_of_totals)::int as n,
             (select n from outside.of_events)::int as events, (select orders from outside.grouped where id = 1)::int as orders,
             (outside.first_customer()).id as first, (select count(*) from outside.plain)::int as plain`)
    expect(rows).toEqual([{ totals: 12750, n: 50, events: 40, orders: 1, first: 1, plain: 47 }])
  })

  const LAST_ORDER_IS_999 = `update shop.customer set last_order = null where id = 50;
    update shop."Order" set id = 999 where id = 50;`
  const LAST_CUSTOMER_IS_999 = `update shop."Order" set customer_id = null where customer_id = 50;
    update shop.customer set id = 999 where id = 50;`

  it.each([
    {
      when: 'a row of an outside table would lose its parent',
      sql: `${LAST_ORDER_IS_999} insert into outside.invoice values (9, 999, null, null, null)`,
      names: 'invoice_order',
    },
    {
      when: 'a row of a partitioned outside table would lose its parent',
      sql: `${LAST_CUSTOMER_IS_999} insert into outside.log values (2, 999, 'x')`,
      names: 'log_customer',
    },
    {
      when: 'a parent outside is missing',
      sql: `update shop.customer set region_id = 1; delete from outside.region where id = 3`,
      names: 'customer_region',
    },
    {
      when: 'a unique index of the target alone forbids a row',
      sql: `update shop.customer set region_id = null; create unique index of_target on shop.customer (region_id)`,
      names: 'of_target',
    },
    {
      when: 'a deferred constraint of the target alone forbids a row',
      sql: `update shop.customer set region_id = null;
        alter table shop.customer add constraint of_target unique (region_id) deferrable initially deferred`,
      names: 'of_target',
    },
    {
      when: 'an exclusion constraint of the target alone forbids a row',
      sql: `update shop."Order" set customer_id = null; alter table shop."Order" add constraint of_target
        exclude using gist (int4range(customer_id, customer_id + 20) with &&) where (customer_id is not null)`,
      names: 'of_target',
    },
    {
      when: 'a check of the target alone forbids a row',
      sql: `alter table shop.event_rest add constraint of_target check (id < 0) not valid`,
      names: 'of_target',
    },
    {
      when: 'a column must not be null in the target alone',
      sql: `update shop.customer set referred_by = 1 where id = 1; alter table shop.customer alter referred_by set not null`,
      names: 'shop.customer',
    },
  ])('leaves everything as it was when $when', async ({ sql, names }) => {
    // A target with triggers that have fired cannot be altered in the same transaction.
    await using target = await shop()
    const client = await target.client()
    for (const statement of sql.split(';')) await client.query(statement)
    const before = await readState(target.url)

    const env = { STAGING_DATABASE_URL: target.url }
    const result = await runJobHere(world, { kind: 'restore', archive, target: 'staging', engine: 'truncate' }, { env })

    expect(result).toMatchObject({ outcome: 'failed', code: 'constraint-violated', target_state: 'rolled_back' })
    expect([result.message, ...(result.details ?? [])].join('\n')).toContain(names)
    expect(await readState(target.url)).toEqual(before)
  })

  it('never shows an empty table to a reader whose snapshot is older: it sees the new rows', async () => {
    await using target = await shop()
    const reader = await target.client()
    const read = async () =>
      (
        await reader.query(`
          select (select count(*)::int from shop.customer) as customers, (select count(*)::int from shop."Order") as orders,
                 (select count(*)::int from shop.event) as events, (select count(*)::int from shop.customer where note = 'old') as old,
                 (select count(*)::int from outside.totals) as totals, (select count(*)::int from shop.customer where email = 'c49@example.org') as by_index`)
      ).rows
    await reader.query('begin isolation level repeatable read')
    // Takes the snapshot, and no lock that the sync would have to wait for.
    await reader.query('select count(*) from pg_class')

    expect(mustSucceed(await syncInto(target, 'truncate'))).toMatchObject({ engine: 'truncate' })

    const seen = { customers: 50, orders: 50, events: 40, old: 0, totals: 50, by_index: 1 }
    expect(await read()).toEqual([seen])
    await reader.query('set local enable_seqscan = off')
    expect(await read()).toEqual([seen])
    await reader.query('commit')
  })

  it('waits for readers of tables that its foreign keys lead to, before it loads anything', async () => {
    await using target = await shop()
    const before = await readState(target.url)
    const reader = await target.client()
    await reader.query('begin; select count(*) from outside.region; select count(*) from outside.log_x')
    const seen: string[] = []
    const result = await syncInto(target, 'truncate', world.source, (type) => {
      seen.push(type)
      if (type === 'lock.waiting') void reader.query('commit')
    })
    expect(mustSucceed(result)).toMatchObject({ engine: 'truncate' })
    expect(seen.indexOf('lock.waiting')).toBeGreaterThan(0)
    expect(seen.indexOf('table.loaded')).toBeGreaterThan(seen.lastIndexOf('lock.waiting'))
    expect((await readState(target.url)).definitions).toEqual(before.definitions)
  })
})

describe('create', () => {
  /** Publications are not carried. */
  const carried = async (database: TestDatabase) => {
    const state = await readCopied(database.url)
    return { ...state, definitions: state.definitions.filter((line) => !line.startsWith('["publication')) }
  }

  it('brings over every kind of object, and a second sync changes no definition', async () => {
    await using source = await createDatabase({ sql: richSchema(inject('postgres').major) })
    await using target = await createDatabase()
    // Made before the rows were; in the copy it will have seen them.
    if (inject('postgres').major >= 14)
      await (await source.client()).query('refresh materialized view app.from_function')
    const wanted = await carried(source)

    expect(mustSucceed(await syncInto(target, 'create', source))).toMatchObject({ engine: 'create' })
    expect(await carried(target)).toEqual(wanted)

    const client = await target.client()
    await client.query(`delete from app.child; update app.base set y = 'changed'; select setval('app.shared', 13)`)
    expect(mustSucceed(await syncInto(target, 'truncate', source))).toMatchObject({ engine: 'truncate' })
    expect(await carried(target)).toEqual(wanted)
  })

  const REFUSES_HERE = `
    create function public.refuse_here(x int) returns int language plpgsql immutable as $$
      begin if current_setting('road.refuse', true) = 'yes' then raise exception 'not here'; end if; return x; end $$;`

  it.each([
    {
      when: 'the target refuses a definition after the rows',
      source: `${SHOP}${SHOP_ROWS} create index on shop.customer (email); create policy late on shop.customer using (true);`,
      target: `create function public.veto() returns event_trigger language plpgsql as $$ begin raise exception 'no policies'; end $$;
        create event trigger veto on ddl_command_end when tag in ('CREATE POLICY') execute function public.veto();`,
    },
    {
      when: 'a materialised view cannot be filled in the target',
      source: `${SHOP}${SHOP_ROWS}${REFUSES_HERE} create materialized view shop.m as select public.refuse_here(id) from shop.customer;`,
      target: `do $$ begin execute format('alter database %I set road.refuse = ''yes''', current_database()); end $$;`,
    },
  ])('leaves the empty target exactly empty when $when', async ({ source: sourceSql, target: targetSql }) => {
    await using source = await createDatabase({ sql: sourceSql })
    await using target = await createDatabase({ sql: targetSql })
    const before = await readState(target.url)
    expect(await syncInto(target, 'create', source)).toMatchObject({ outcome: 'failed', target_state: 'rolled_back' })
    expect(await readState(target.url)).toEqual(before)
  })
})
