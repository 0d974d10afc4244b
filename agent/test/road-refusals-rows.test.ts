import { until, withDeadline } from '@multiboard-sync/shared/testing/postgres/deadline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectRefusal, type Expected } from './road/refusal.ts'
import { syncHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/* What only shows once rows move: damaged archives, rows that do not fit, rows that are missing, tables in use. */

const SQL = `
create table public.part (id int primary key, name text not null);
insert into public.part select n, 'canary-row-' || n from generate_series(1, 2000) n;`

/** In one transaction over the target's own tables. */
const sync = { kind: 'sync', source: 'production', target: 'staging', engine: 'truncate' }
const canaries = ['canary-row']

describe('an archive', () => {
  let world: World
  let archive: string
  beforeAll(async () => {
    world = await openWorld({ source: { sql: SQL } })
    archive = (await syncHere(world)).archive?.id ?? ''
    // A restore would replace these rows.
    const client = await world.target.client()
    await client.query(`update public.part set name = 'canary-row-of-target'`)
  })
  afterAll(async () => await world[Symbol.asyncDispose]())

  const find = async (piece: string): Promise<{ key: string; middle: number }> => {
    const keys = await world.store.keys(world.bucket)
    const key = keys.find((one) => one.includes(`${archive}/`) && one.includes(piece))
    if (key === undefined) throw new Error(`no object ${piece} among ${keys.join(', ')}`)
    return { key, middle: Math.floor((await world.store.read(world.bucket, key)).length / 2) }
  }
  const restore = async (expected: Expected) =>
    await expectRefusal(
      world,
      { kind: 'restore', archive, target: 'staging', engine: 'truncate' },
      { canaries, ...expected },
    )
  /** With one bit of the object inverted; afterwards it is as it was. */
  const restoreAltered = async (piece: string, expected: Expected) => {
    const { key, middle } = await find(piece)
    await world.store.flipByte(world.bucket, key, middle)
    try {
      return await restore(expected)
    } finally {
      await world.store.flipByte(world.bucket, key, middle)
    }
  }

  test('T17 G22: with an altered part changes nothing, and the part is named', async () => {
    const damaged: Expected = { outcome: 'failed', code: 'archive-damaged', storesObjects: true }
    const { message } = await restoreAltered('data/', { ...damaged, target_state: 'rolled_back' })
    expect(message).toContain('part')
  })

  test('T17 G22: with an altered definition is not begun', async () => {
    await restoreAltered('000-pre-data', { outcome: 'failed', code: 'archive-damaged' })
  })

  test('T17 T18 G22: with an altered manifest, or another signature, is refused', async () => {
    await restoreAltered('manifest.json', { outcome: 'refused', code: 'archive-untrusted' })
    await restoreAltered('manifest.json.jws', { outcome: 'refused', code: 'archive-untrusted' })
  })

  // From here on the archive stays as these tests leave it.
  test('with a truncated object, then without it, then without its manifest is not begun', async () => {
    const { key, middle } = await find('data/')
    await world.store.truncate(world.bucket, key, middle)
    await restore({ outcome: 'failed', code: 'archive-damaged' })
    await world.store.remove(world.bucket, key)
    const { details } = await restore({ outcome: 'refused', code: 'archive-incomplete' })
    expect(details).toEqual([expect.stringContaining(key.split('/').at(-1) ?? key)])
    await world.store.remove(world.bucket, (await find('manifest.json')).key)
    await restore({ outcome: 'refused', code: 'archive-incomplete' })
  })
})

describe('rows that the target does not take', () => {
  const rolledBack = { outcome: 'failed', target_state: 'rolled_back', storesObjects: true, canaries } as const

  test('are told by constraint and table, and no value of theirs', async () => {
    await using world = await openWorld({
      source: { sql: SQL },
      target: {
        sql: `create table public.part (id int primary key, name text not null unique); insert into public.part values (1, 'kept')`,
      },
    })
    const client = await world.source.client()
    await client.query(`update public.part set name = 'canary-row-twice' where id < 3`)
    const { message } = await expectRefusal(world, sync, { ...rolledBack, code: 'constraint-violated' })
    expect(message).toMatch(/unique_violation \(23505\).*public\.part.*part_name_key/)
  })

  test('because a trigger or check of the target says so are told without the text of it', async () => {
    await using world = await openWorld({
      source: { sql: SQL },
      target: {
        sql: `
create function public.judge(text) returns boolean language plpgsql immutable as
  $$ begin return $1::int > 0; end $$;
create table public.part (id int primary key, name text not null check (public.judge(name)));`,
      },
    })
    const { message } = await expectRefusal(world, sync, { ...rolledBack, code: 'load-failed' })
    expect(message).toContain('22P02')
    expect(message).toContain('public.part')
  })

  test('because a foreign key of another table points at rows that go are told by that key', async () => {
    const keeper = `
create table public.keeper (part int constraint keeps references public.part);`
    await using world = await openWorld({ source: { sql: SQL + keeper }, target: { sql: SQL + keeper } })
    const source = await world.source.client()
    await source.query(`delete from public.part where id = 7`)
    const target = await world.target.client()
    await target.query('insert into public.keeper values (7)')
    const asked = { ...sync, tables: ['part'] }
    const { message } = await expectRefusal(world, asked, { ...rolledBack, code: 'constraint-violated' })
    expect(message).toContain('keeps')
  })
})

test('T25: a source that has lost its rows is refused by the guard of the route, after the backup', async () => {
  await using world = await openWorld({ source: { sql: SQL }, target: { sql: SQL } })
  await world.writePolicy(`
databases:
  production: { role: source }
  staging: { role: target }
routes:
  - { from: production, to: staging, max_row_drop_pct: 30 }
`)
  const client = await world.source.client()
  await client.query('delete from public.part where id > 1300')
  const dropped: Expected = { outcome: 'refused', code: 'row-drop', storesObjects: true, canaries }
  const { details, message } = await expectRefusal(world, sync, dropped)
  expect(details).toEqual(['public.part: 2,000 rows now, 1300 in the archive'])
  expect(message).toContain('1 table would lose more than 30 %')
  await client.query(`insert into public.part select n, 'back' from generate_series(1301, 1400) n`)
  expect((await syncHere(world, { engine: 'truncate' })).target_state).toBe('changed')
})

describe('a target in use', () => {
  test('by a long reader is waited for, and left alone in the end', async () => {
    await using world = await openWorld({ source: { sql: SQL }, target: { sql: SQL } })
    await world.writePolicy(`
databases:
  production: { role: source }
  staging: { role: target }
routes:
  - { from: production, to: staging }
limits: { lock_attempts: 1 }
`)
    const reader = await world.target.client()
    await reader.query('begin; select count(*) from public.part')
    const busy: Expected = {
      outcome: 'failed',
      code: 'lock-timeout',
      target_state: 'rolled_back',
      storesObjects: true,
      canaries,
    }
    const { hint } = await expectRefusal(world, sync, busy)
    expect(hint).toContain('locks')
    await reader.query('commit')
    expect((await syncHere(world, { engine: 'truncate' })).target_state).toBe('changed')
  })

  test('by another job is refused', async () => {
    await using world = await openWorld({ source: { sql: SQL }, target: { sql: SQL } })
    // The first job stands still before it changes anything: somebody reads a table of its target.
    const holder = await world.target.client()
    await holder.query('begin; select count(*) from public.part')
    const first = world.agent(['sync', '--from', 'production', '--to', 'staging', '--engine', 'truncate', '--json'])
    const watcher = await world.target.client()
    await until('the first job waits for the table', 60_000, async () => {
      const { rows } = await watcher.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'multiboard-sync%' and datname = current_database()`,
      )
      return rows.length > 0
    })
    const second = await world.agent([
      'sync',
      '--from',
      'production',
      '--to',
      'staging',
      '--engine',
      'truncate',
      '--json',
    ])
    expect(second.code).toBe(3)
    expect(second.json).toMatchObject({ outcome: 'refused', code: 'target-busy', target_state: 'untouched' })
    await holder.query('rollback')
    const { json } = await withDeadline('the end of the first job', 60_000, first)
    expect(json).toMatchObject({ outcome: 'succeeded', target_state: 'changed' })
  })
})
