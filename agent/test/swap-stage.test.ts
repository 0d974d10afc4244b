import { randomBytes } from 'node:crypto'
import type { TableName } from '@multiboard-sync/shared/table-pattern'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { dumpDefinitions } from '../src/postgres/dump-source.ts'
import { readFingerprintLines } from '../src/postgres/fingerprint.ts'
import type { Target } from '../src/postgres/open-target.ts'
import { quoteTable } from '../src/postgres/quote.ts'
import type { Session } from '../src/postgres/session.ts'
import { schemasOf, type SwapSet } from '../src/postgres/swap-set/swap-set.ts'
import { asideOf, dropAside, inAside, readAsides, type Aside } from '../src/restore/stage/aside.ts'
import { makeStage, type Staged } from '../src/restore/stage/make-stage.ts'
import { shopSql } from './stage/shop.ts'
import {
  archiveOf,
  asIfSwapped,
  DEADLINE_MS,
  deadline,
  fill,
  open,
  prove,
  readLive,
  setOf,
  telling,
  type Told,
} from './stage/try-stage.ts'

const JOB = 'j4k7q2m9xw1ab'
const suffix = randomBytes(4).toString('hex')
const [owner, reader] = [`stage_owner_${suffix}`, `stage_reader_${suffix}`]

let database: TestDatabase
let target: Target
let staged: Staged
let set: SwapSet
let stage: Aside
let before: Awaited<ReturnType<typeof readLive>>
let sequences: string
let told: Told
let proof: Awaited<ReturnType<typeof prove>>
/** Row security of the twin of public.t while it held its rows and was not proven yet. */
let whileLoading: { rls: boolean; force: boolean }

const OUTSIDE = ['public.outside', 'public.outside_child', 'public.told']

beforeAll(async () => {
  database = await createDatabase({ sql: 'create extension btree_gist' })
  const client = await database.client()
  await client.query(shopSql({ owner, reader }))
  target = await open(database.url)
  const { session } = target
  set = await setOf(session, OUTSIDE)
  stage = asideOf('stage', JOB, schemasOf(set))
  before = await readLive(session, set)
  sequences = await dumpDefinitions(target.database, deadline())
  told = telling()
  const { run } = told
  const source = await archiveOf(session, set)
  staged = await makeStage(target, set, stage, run)
  const look = async (): Promise<void> => {
    whileLoading = await flagsOf(session)
  }
  const { prepared, found } = await fill(target, staged, source, { ...run, sequences, whileLoading: look })
  proof = await prove(target, prepared, { tables: source.tables, found }, run)
}, DEADLINE_MS)

afterAll(async () => {
  await target[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
  const other = await createDatabase()
  const client = await other.client()
  for (const role of [owner, reader]) await client.query(`drop role if exists ${role}`)
  await other[Symbol.asyncDispose]()
})

async function flagsOf(session: Session): Promise<{ rls: boolean; force: boolean }> {
  const [row] = await session.query<{ rls: boolean; force: boolean }>(
    'select relrowsecurity as rls, relforcerowsecurity as force from pg_class where oid = $1::regclass',
    [quoteTable(inAside(stage, { schema: 'public', name: 't' }))],
  )
  return row ?? { rls: false, force: false }
}

const there = (table: TableName): string => quoteTable(inAside(stage, table))
const inPublic = (name: string): string => there({ schema: 'public', name })

async function one<Row extends object>(
  session: Session,
  sql: string,
  values: unknown[] = [],
): Promise<Row | undefined> {
  return (await session.query<Row>(sql, values))[0]
}

describe('a stage', () => {
  it('D6: is, when it is loaded and built, defined as the live tables are', async () => {
    const { session } = target
    const outside = /"(outside|outside_child|only_reads)"/
    // Foreign keys from outside still follow the live tables, and those to outside are not built.
    const look = async (): Promise<string[]> =>
      (await readFingerprintLines(session, { keys: 'none' })).filter((line) => !outside.test(line))
    const live = await look()
    expect(live.length).toBeGreaterThan(100)
    expect(await asIfSwapped(session, set, stage, look)).toEqual(live)
  })

  it('D6: has the foreign keys within the set, each as it was', async () => {
    const rows = await target.session.query<{ name: string; definition: string; comment: string | null }>(
      `select conname as name, pg_get_constraintdef(oid) as definition, convalidated as validated,
              obj_description(oid, 'pg_constraint') as comment
       from pg_constraint where contype = 'f' and connamespace::regnamespace::text = any ($1) order by 1`,
      [[...stage.schemas.values()]],
    )
    const on = (definition: string): string => `FOREIGN KEY ${definition}`
    expect(rows).toEqual([
      {
        name: 'inner_key',
        definition: on(`(t_id) REFERENCES ${bare('public', 't')}(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED`),
        validated: true,
        comment: 'kept',
      },
      {
        name: 'inner_key2',
        definition: on(`(other) REFERENCES ${bare('public', 't')}(id) MATCH FULL DEFERRABLE`),
        validated: true,
        comment: null,
      },
      {
        name: 'not_valid',
        definition: on(`(other) REFERENCES ${bare('S 2', 't')}(id) NOT VALID`),
        validated: false,
        comment: null,
      },
      {
        name: 't_parent_id_fkey',
        definition: on(`(parent_id) REFERENCES ${bare('public', 't')}(id)`),
        validated: true,
        comment: null,
      },
    ])
  })

  it('leaves the live tables exactly as they were, with their OIDs', async () => {
    expect(await readLive(target.session, set)).toEqual(before)
  })

  it('holds the rows of the archive, and has what is materialized filled from them', async () => {
    const { session } = target
    expect(
      proof.map(({ table, rows_expected, rows_found, checksum }) => [table, rows_expected === rows_found, checksum]),
    ).toContainEqual(['public.t', true, 'equal'])
    expect(proof).toHaveLength(12)
    expect(await one(session, `select n::int from ${inPublic('counted')}`)).toEqual({ n: 200 })
    expect(await one(session, `select count(*)::int as n from ${inPublic('p')}`)).toEqual({ n: 200 })
    expect(
      await one(session, 'select relispopulated as is from pg_class where oid = $1::regclass', [inPublic('empty')]),
    ).toEqual({ is: false })
  })

  it('D1: is made under our own timeouts and search path, never those of the preamble of pg_dump', async () => {
    const rows = await target.session.query<{ lock_timeout: string; what: string }>(
      `select distinct lock_timeout, statement_timeout, search_path from public.told where what ~ '^public'`,
    )
    expect(rows).toEqual([{ lock_timeout: '250ms', statement_timeout: '5s', search_path: '""' }])
  })

  it('D3, test 15: gives a table its own access method, not that of the entry before it', async () => {
    const methods = await target.session.query(
      `select c.relname as name, a.amname as method from pg_class c join pg_am a on a.oid = c.relam
       where c.relnamespace = $1::regnamespace and c.relname in ('other_method', 'after_it', 't', 'unlogged') order by 1`,
      [stage.schemas.get('public')],
    )
    expect(methods).toEqual([
      { name: 'after_it', method: 'heap' },
      { name: 'other_method', method: 'heap2' },
      { name: 't', method: 'heap' },
      { name: 'unlogged', method: 'heap' },
    ])
    expect(await one(target.session, 'show default_table_access_method')).toEqual({
      default_table_access_method: 'heap',
    })
  })

  it('D8: has the values of the archive in its sequences, also one that has reached its maximum', async () => {
    const names = [
      { schema: 'public', name: 't_id_seq' },
      { schema: 'S 2', name: 'Seq "q"' },
    ]
    const values = async (of: (table: TableName) => string) =>
      await target.session.query(
        names.map((name) => `select last_value, is_called from ${of(name)}`).join(' union all '),
      )
    expect(await values(there)).toEqual([
      { last_value: '200', is_called: true },
      { last_value: '50', is_called: true },
    ])
    expect(await values(there)).toEqual(await values(quoteTable))
  })

  it('D9, test 10: keeps tables and indexes of the same name in two schemas apart', async () => {
    const rows = await target.session.query(
      `select n.nspname as schema, x.indrelid::regclass::text as table from pg_class c
       join pg_namespace n on n.oid = c.relnamespace join pg_index x on x.indexrelid = c.oid
       where c.relname = 't_expression' and n.nspname ~ '^multiboard' order by 1`,
    )
    expect(rows).toEqual(
      ['S 2', 'public'].map((schema) => ({ schema: stage.schemas.get(schema), table: bare(schema, 't') })),
    )
    expect(await one(target.session, `select x from ${inPublic(`${'n'.repeat(61)}é`)} where "a ""b"" c" = 1`)).toEqual({
      x: 1,
    })
  })

  it('D10: has its columns in the order of the live table, not of the archive', async () => {
    const columns = async (table: string) =>
      await one(
        target.session,
        `select array_agg(attname::text order by attnum) as names from pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
        [table],
      )
    expect(await columns(inPublic('t'))).toEqual(await columns('public.t'))
    expect(await one(target.session, `select a, b, name from ${inPublic('t')} where id = 8`)).toEqual({
      a: 1,
      b: 2,
      name: 'n8',
    })
  })

  it('D12: has row security off while rows are loaded and proven, and on afterwards', async () => {
    expect(whileLoading).toEqual({ rls: false, force: false })
    expect(await flagsOf(target.session)).toEqual({ rls: true, force: true })
    // Its owner has no policy that lets a row through: that is what a REFRESH of the live view would find.
    expect(await one(target.session, `select count(*)::int as n from ${inPublic('summary')}`)).toEqual({ n: 0 })
  })

  it('D14: is made a few tables at a time, those that belong together at once', async () => {
    const made = told.events.find(({ type }) => type === 'stage.made')
    expect(made?.data).toMatchObject({ tables: set.members.length })
    expect(made?.data['transactions']).toBeGreaterThan(1)
    expect(made?.data['transactions']).toBeLessThan(set.members.length / 2)
    await Promise.resolve()
  })

  it('R2: has no foreign key to a table outside, whose rows can be deleted as before', async () => {
    const { session } = target
    const crossing = await session.query(
      `select from pg_constraint k join pg_class c on c.oid = k.confrelid
       where k.contype = 'f' and k.connamespace::regnamespace::text ~ '^multiboard' and c.relnamespace::regnamespace::text !~ '^multiboard'`,
    )
    expect(crossing).toEqual([])
    await session.run('begin; update public.t set outside_id = null; delete from public.outside')
    await session.run('rollback')
  })

  it('R5, test 6: lets nobody read or count who may not do so with the live tables, whatever default privileges say', async () => {
    const { session } = target
    const names = ['t', 't_id_seq', 'p', 'after_it', 'inner_child', 'summary']
    const grants = async (of: (table: TableName) => string) =>
      await session.query(
        `select array(select concat_ws(' ', e.grantor::regrole, e.grantee::oid::regrole, e.privilege_type, e.is_grantable) as entry
           from aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))) e
           order by entry) as acl
         from unnest($1::regclass[]) with ordinality as u(oid, place) join pg_class c on c.oid = u.oid order by place`,
        [names.map((name) => of({ schema: 'public', name }))],
      )
    expect(await grants(there)).toEqual(await grants(quoteTable))
    const may = await one(
      session,
      `select has_table_privilege($1, $2, 'select') as t, has_column_privilege($1, $2, 'name', 'select') as name,
              has_sequence_privilege($1, $3, 'usage') as seq, has_table_privilege($1, $4, 'select') as child,
              has_schema_privilege($1, $5, 'usage') as schema`,
      [reader, inPublic('t'), inPublic('t_id_seq'), inPublic('inner_child'), stage.schemas.get('public')],
    )
    expect(may).toEqual({ t: false, name: true, seq: false, child: true, schema: false })
  })

  it('R8, test 9: has the extended statistics, also those that lie in a schema of their own', async () => {
    const rows = await target.session.query(
      `select s.stxname as name, s.stxrelid::regclass::text as table, s.stxstattarget::int as target,
              pg_get_userbyid(s.stxowner) as owner, obj_description(s.oid, 'pg_statistic_ext') as comment, s.stxkind::text as kinds
       from pg_statistic_ext s where s.stxnamespace = $1::regnamespace`,
      [stage.schemas.get('stats')],
    )
    expect(rows).toEqual([
      {
        name: 'of_t',
        table: bare('public', 't'),
        target: 33,
        owner,
        comment: 'in a schema of its own',
        kinds: '{d,f}',
      },
    ])
  })

  it('is found by what its schemas say of themselves, and dropped without a trace', async () => {
    const { session } = target
    const [found, ...others] = await readAsides(session)
    expect(others).toEqual([])
    expect(found).toMatchObject({ kind: 'stage', job: JOB, schemas: stage.schemas })
    expect(found?.tables).toContainEqual({ schema: 'S 2', name: 't' })
    expect(found?.bytes).toBeGreaterThan(100_000)
    await dropAside(session, stage)
    expect(await readAsides(session)).toEqual([])
    expect(await readLive(session, set)).toEqual(before)
  })
})

/** As the server writes it. */
function bare(schema: string, name: string): string {
  return `${inAside(stage, { schema, name }).schema}.${name}`
}
