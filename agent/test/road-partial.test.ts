import { createDatabase, templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { readCopied, readState } from './road/compare-databases.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { PARTIAL } from './road/values-partial.ts'
import { hasTool, restoreWithPsql } from './road/values-tools.ts'
import { openWorld, POLICY, type World } from './road/world.ts'

const psql = hasTool('psql')
if (!psql) console.log('skipped in part: psql is not on the PATH')

let world: World
let template: string
let whole: Awaited<ReturnType<typeof readCopied>>

beforeAll(async () => {
  world = await openWorld({ source: { sql: PARTIAL } })
  template = await templateDatabase('a target for partial jobs', async (database) => {
    const client = await database.client()
    await client.query(PARTIAL)
    await client.end()
  })
  whole = await readCopied(world.source.url)
})
afterAll(async () => await world[Symbol.asyncDispose]())
beforeEach(async () => await world.writePolicy(POLICY))

/** A target of the test's own; full with the same tables, or empty. */
async function makeTarget(sql?: string): Promise<TestDatabase> {
  const target = await createDatabase(sql === undefined ? {} : { template, sql })
  onTestFinished(async () => await target[Symbol.asyncDispose]())
  return target
}

async function exported(tables?: string[]): Promise<string> {
  const result = await runJobHere(world, { kind: 'export', source: 'production', ...(tables ? { tables } : {}) })
  return mustSucceed(result).archive?.id ?? ''
}

async function restored(target: TestDatabase, archive: string, tables?: string[], engine = 'auto') {
  const params = { kind: 'restore', archive, target: 'staging', engine, ...(tables ? { tables } : {}) }
  return await runJobHere(world, params, { env: { STAGING_DATABASE_URL: target.url } })
}

async function planned(tables: string[] | undefined, env: Record<string, string> = {}) {
  const params = { kind: 'sync', source: 'production', target: 'staging', ...(tables ? { tables } : {}) }
  const result = await runJobHere(world, params, { env, dryRun: true })
  return { ...result, names: result.plan?.tables.map(({ schema, name }) => `${schema}.${name}`) }
}

/** The names of all relations, functions, rules, policies, triggers and keys of our schemas. */
async function objects(database: TestDatabase): Promise<string[]> {
  const { rows } = await (
    await database.client()
  ).query<{ name: string }>(`
    with ours as (select oid, nspname from pg_namespace where nspname in ('app', 'other'))
    select nspname || '.' || relname as name from pg_class c join ours on ours.oid = relnamespace where relkind not in ('i', 'I', 't')
    union all select nspname || '.' || proname || '()' from pg_proc join ours on ours.oid = pronamespace
    union all select tgrelid::regclass || ' trigger ' || tgname from pg_trigger where not tgisinternal
    union all select ev_class::regclass || ' rule ' || rulename from pg_rewrite where rulename <> '_RETURN' and ev_class >= 16384
    union all select polrelid::regclass || ' policy ' || polname from pg_policy
    union all select conrelid::regclass || ' key ' || conname from pg_constraint where contype = 'f'
    union all select nspname || '.' || stxname from pg_statistic_ext join ours on ours.oid = stxnamespace
    order by 1`)
  return rows.map(({ name }) => name)
}

describe('an archive of some tables', () => {
  const KEPT = [
    'app.a',
    'app.a policy kept',
    'app.a trigger a_kept',
    'app.a_id_seq',
    'app.a_statistics',
    'app.alone',
    'app.b_id_seq',
    'app.f_kept()',
    'app.kept',
    'app.m_kept',
    'app.touch()',
  ]

  it('restores by itself into an empty database, without what needs the other tables', async () => {
    const archive = await exported(['app.a'])
    const target = await makeTarget()
    expect(mustSucceed(await restored(target, archive))).toMatchObject({ engine: 'create' })
    expect(await objects(target)).toEqual(KEPT)
    const state = await readCopied(target.url)
    for (const name of ['app.a', 'app.m_kept']) expect(state.tables[name]).toEqual(whole.tables[name])
    for (const name of ['app.a_id_seq', 'app.alone']) expect(state.sequences[name]).toEqual(whole.sequences[name])
    // The sequence of a table that stayed out has no owner.
    const added = state.definitions.filter((line) => !whole.definitions.includes(line) && !line.includes('b_id_seq'))
    expect(added).toEqual([])
    expect(state.definitions.filter((line) => /gone/.test(line))).toEqual([])
    expect(state.definitions.filter((line) => line.includes('"kept"')).length).toBeGreaterThan(1)
  })

  it.skipIf(!psql)('restores by psql alone into the same', async () => {
    const archive = await exported(['app.a', 'app.heir', 'app.m_1', 'app.spare'])
    const [target, plain] = [await makeTarget(), await makeTarget()]
    expect(mustSucceed(await restored(target, archive))).toMatchObject({ engine: 'create' })
    await restoreWithPsql(world, archive, plain.url)
    const state = await readCopied(target.url)
    expect(await readCopied(plain.url)).toEqual(state)
    // Parents come along, empty; a sequence that somebody else counts with comes without its owner.
    expect(state.tables['app.base']?.rows).toBe(0)
    for (const name of ['app.a', 'app.heir', 'app.m_1', 'app.spare']) {
      expect(state.tables[name]).toEqual(whole.tables[name])
    }
    expect(Object.keys(state.tables)).toHaveLength(7)
  })

  it('is refused when a chosen table cannot stand without one that is left out', async () => {
    await using source = await createDatabase({
      sql: `create table public.a (x int); create table public.b (y public.a); create domain public.d as public.a[]; insert into public.a values (1);`,
    })
    const result = await runJobHere(
      world,
      { kind: 'export', source: 'production', tables: ['b'] },
      { env: { PRODUCTION_DATABASE_URL: source.url } },
    )
    expect(result).toMatchObject({ outcome: 'refused', code: 'unsupported-object' })
    expect(result.details?.join('\n')).toMatch(/column y of table public\.b/)
  })

  it('refreshes, in a target that has them all, the chosen tables and nothing else', async () => {
    const archive = await exported(['app.a', 'app.m'])
    const target = await makeTarget(`update app.a set note = 'old'; update app.b set note = 'own'; delete from app.m;
      select setval('app.a_id_seq', 99); select setval('app.alone', 88); select setval('app.b_id_seq', 77);`)
    const before = await readState(target.url)
    expect(mustSucceed(await restored(target, archive, undefined, 'truncate'))).toMatchObject({ engine: 'truncate' })
    const after = await readState(target.url)
    for (const name of ['app.a', 'app.m_1', 'app.m_2']) expect(after.tables[name]).toEqual(whole.tables[name])
    expect(after.tables['app.b']).toEqual(before.tables['app.b'])
    expect(after.sequences).toEqual({ ...before.sequences, 'app.a_id_seq': whole.sequences['app.a_id_seq'] })
    expect(after.definitions).toEqual(before.definitions)
  })
})

describe('some tables of a whole archive', () => {
  let archive: string
  beforeAll(async () => {
    archive = await exported()
  })

  it('are made in an empty target, without the others', async () => {
    const target = await makeTarget()
    const chosen = ['app.a', 'app."A.b"', 'app.heir', 'app.m_1', 'app.spare']
    expect(mustSucceed(await restored(target, archive, chosen))).toMatchObject({ engine: 'create' })
    const state = await readCopied(target.url)
    const names = ['app."A.b"', 'app.a', 'app.heir', 'app.m_1', 'app.spare']
    for (const name of names) expect(state.tables[name]).toEqual(whole.tables[name])
    expect(Object.keys(state.tables)).toEqual(
      [...names.slice(0, 2), 'app.base', 'app.heir', 'app.m', 'app.m_1', 'app.m_kept', 'app.spare'].toSorted(),
    )
    expect((await objects(target)).filter((name) => /gone|other|app\.b$|c_/.test(name))).toEqual([])
    expect(state.sequences['app.b_id_seq']).toEqual(whole.sequences['app.b_id_seq'])
  })

  it('are made with the foreign keys among them, and the comments on these', async () => {
    const target = await makeTarget()
    expect(await restored(target, archive, ['app.a', 'app.b'])).toMatchObject({
      outcome: 'succeeded',
      engine: 'create',
    })
    const keys = (await objects(target)).filter((name) => name.includes(' key '))
    expect(keys).toEqual(['app.a key a_gone', 'app.b key b_a_id_fkey'])
    const client = await target.client()
    const { rows } = await client.query(
      `select obj_description(oid, 'pg_constraint') as comment from pg_constraint where conname = 'a_gone'`,
    )
    expect(rows).toEqual([{ comment: 'to b as well' }])
  })

  it('are refreshed in a target that has them', async () => {
    const target = await makeTarget(
      `update app.a set note = 'old'; delete from app.m; delete from other.c; delete from app.heir;`,
    )
    const before = await readState(target.url)
    const result = await restored(target, archive, ['app.m', 'other.*'], 'truncate')
    expect(mustSucceed(result)).toMatchObject({ engine: 'truncate' })
    const after = await readState(target.url)
    for (const name of ['app.m_1', 'app.m_2', 'other.c']) expect(after.tables[name]).toEqual(whole.tables[name])
    for (const name of ['app.a', 'app.heir']) expect(after.tables[name]).toEqual(before.tables[name])
    expect(after.definitions).toEqual(before.definitions)
  })

  it('come back from the safety backup of a job that replaced them', async () => {
    const target = await makeTarget(`update app.a set note = 'precious'; select setval('app.a_id_seq', 4000);`)
    const before = await readState(target.url)
    const job = await restored(target, archive, ['app.a'], 'truncate')
    expect(mustSucceed(job)).toMatchObject({ engine: 'truncate' })
    expect(await readState(target.url)).not.toEqual(before)
    const undone = await restored(target, job.safety_backup?.id ?? '', undefined, 'truncate')
    expect(mustSucceed(undone)).toMatchObject({ engine: 'truncate', target_state: 'changed' })
    expect(await readState(target.url)).toEqual(before)
  })

  it('do not flow when the route excludes their partitioned table', async () => {
    await world.writePolicy(`${POLICY.slice(0, POLICY.indexOf('routes:'))}routes:
  - { from: production, to: staging, tables: { include: ['app.*'], exclude: ['app.m', 'app.b'] } }`)
    const target = await makeTarget()
    expect(await restored(target, archive, ['app.m_1'])).toMatchObject({ outcome: 'refused', code: 'policy-denied' })
    expect(await restored(target, archive, ['app.m'])).toMatchObject({ outcome: 'refused', code: 'policy-denied' })
    expect(mustSucceed(await restored(target, archive))).toMatchObject({ engine: 'create' })
    const { tables } = await readCopied(target.url)
    expect(Object.keys(tables).filter((name) => /app\.(m$|m_\d|b$)|other/.test(name))).toEqual([])
    expect(tables['app.a']).toEqual(whole.tables['app.a'])
  })
})

describe('a selection', () => {
  it('takes names, wildcards, quoted names and partitioned tables, less what the route excludes', async () => {
    await world.writePolicy(`${POLICY.slice(0, POLICY.indexOf('routes:'))}routes:
  - { from: production, to: staging, tables: { include: ['app.*'], exclude: ['app.m_2', 'app.b', 'app.h*'] } }`)
    const names = (await planned(['app."A.b"', 'app.sp*', 'app.?', 'app.h*'])).names
    expect(names).toEqual(['app.A.b', 'app.a', 'app.m_1', 'app.spare'])
  })

  it.each([
    { tables: ['app.b'], code: 'policy-denied', hint: /agent\.yaml/ },
    { tables: ['app.m_1'], code: 'policy-denied', hint: /agent\.yaml/ },
    { tables: ['app.A'], code: 'table-unknown', hint: /Did you mean app\.a\?/ },
    { tables: ['app.a', 'nowhere.at_all'], code: 'table-unknown', hint: /case-sensitive/ },
    { tables: ['zz*'], code: 'table-unknown', hint: /./ },
    { tables: ['a'], code: 'table-unknown', hint: /Did you mean app\.a\?/ },
    { tables: ['other.*', 'zz.*'], code: 'selection-empty', hint: /./ },
  ])('of $tables is refused as $code', async ({ tables, code, hint }) => {
    await world.writePolicy(`${POLICY.slice(0, POLICY.indexOf('routes:'))}routes:
  - { from: production, to: staging, tables: { include: ['app.*'], exclude: ['app.m', 'app.b'] } }`)
    const result = await planned(tables)
    expect(result).toMatchObject({ outcome: 'refused', code, target_state: 'untouched' })
    expect(result.hint).toMatch(hint)
  })
})
