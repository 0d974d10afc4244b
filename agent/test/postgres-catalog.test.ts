import { randomBytes } from 'node:crypto'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, inject, test } from 'vitest'
import { readBlockers } from '../src/postgres/blockers.ts'
import { copyColumns, readTables } from '../src/postgres/catalog.ts'
import { readAvailableExtensions, readExtensions } from '../src/postgres/extensions.ts'
import { readForeignKeys } from '../src/postgres/foreign-keys.ts'
import { readDependentMatviews } from '../src/postgres/matviews.ts'
import { quoteTable } from '../src/postgres/quote.ts'
import { readRoles } from '../src/postgres/roles.ts'
import { readSequences } from '../src/postgres/sequences.ts'
import { openSession, type Session } from '../src/postgres/session.ts'
import { readTriggers } from '../src/postgres/triggers.ts'
import { longestName, richSchema } from './postgres-rich-schema.ts'

const { signal } = new AbortController()
const { major } = inject('postgres')

async function open(url: string): Promise<Session> {
  return await openSession({ name: 'production', url, viaProxy: false }, { purpose: 'test', signal })
}

test('Tables have their columns, keys and kinds, without dropped columns, whatever their names are', async () => {
  await using database = await createDatabase({ sql: richSchema(major) })
  await using session = await open(database.url)
  const tables = await readTables(session)
  const find = (name: string) => {
    const found = tables.find((table) => table.name === name)
    if (found === undefined) throw new Error(`no table ${name}`)
    return found
  }
  const parent = find('parent')
  expect(parent).toMatchObject({
    schema: 'app',
    kind: 'r',
    persistence: 'p',
    isLeaf: true,
    primaryKey: ['id'],
    rowSecurity: true,
  })
  expect(parent.heapBytes).toBe(8192)
  expect(parent.columns.map((column) => column.name)).not.toContain('dropped')
  const column = (name: string) => parent.columns.find((one) => one.name === name)
  expect(column('id')).toEqual({
    name: 'id',
    type: 'integer',
    not_null: true,
    has_default: false,
    generated: '',
    identity: 'd',
  })
  expect(column('doubled')).toMatchObject({ type: 'numeric', has_default: false, generated: 's' })
  expect(column('pair')).toMatchObject({ type: 'app.pair', has_default: false, not_null: false })
  expect(column('code')).toMatchObject({ type: 'text', not_null: true })
  expect(copyColumns(parent.columns)).not.toContain('doubled')
  expect(find('child')).toMatchObject({ primaryKey: ['b', 'a'], forceRowSecurity: true })
  const odd = find('Ta"ble; Owner: x')
  expect(odd.schema).toBe('my.schema/ünï "q"')
  expect(copyColumns(odd.columns)).toBe(`("Id", "select", "UPPER", "${longestName}", "a.b/c")`)
  expect(await session.query(`select count(*)::int as n from ${quoteTable(odd)}`)).toEqual([{ n: 2 }])
  expect(find('none')).toMatchObject({ columns: [], isLeaf: true })
  expect(copyColumns(find('none').columns)).toBe('')
  expect(find('fast').persistence).toBe('u')
  expect(find('summary')).toMatchObject({ kind: 'm', isLeaf: false })
  expect(find('part')).toMatchObject({ kind: 'p', isLeaf: false, isPartition: false, parentOid: null })
  expect(find('part_eu')).toMatchObject({ kind: 'p', isLeaf: false, isPartition: true, parentOid: find('part').oid })
  expect(find('part_eu_1')).toMatchObject({ kind: 'r', isLeaf: true, parentOid: find('part_eu').oid, inheritsOids: [] })
  expect(find('heir')).toMatchObject({
    isLeaf: true,
    isPartition: false,
    parentOid: null,
    inheritsOids: [find('base').oid],
  })
  const names = tables.map((table) => Buffer.from(`${table.schema}\0${table.name}`))
  expect(names).toEqual(names.toSorted((a, b) => Buffer.compare(a, b)))
})

test('Our own schemas and temporary tables are no tables of the user, and members of extensions say whose they are', async () => {
  await using database = await createDatabase({
    sql: `create schema multiboard_sync; create table multiboard_sync.receipts ();
          create schema multiboard_sync_stage; create table multiboard_sync_stage.t ();
          create table mine (); alter extension plpgsql add table mine; create table other ()`,
  })
  await using session = await open(database.url)
  await session.run('create temporary table gone ()')
  const tables = await readTables(session)
  expect(tables.map(({ name, extension }) => [name, extension])).toEqual([
    ['mine', 'plpgsql'],
    ['other', null],
  ])
})

test('Foreign keys can be dropped and made again from what is read', async () => {
  await using database = await createDatabase({ sql: richSchema(major) })
  await using session = await open(database.url)
  const before = await readForeignKeys(session)
  expect(before.find((key) => key.name === 'child_parent')).toMatchObject({
    table: { schema: 'app', name: 'child' },
    referenced: { schema: 'app', name: 'parent' },
    definition: 'FOREIGN KEY (parent_id) REFERENCES app.parent(id) ON UPDATE SET NULL ON DELETE CASCADE DEFERRABLE',
    deferrable: true,
    initiallyDeferred: false,
    validated: true,
    comment: 'to the parent',
    parentOid: 0,
  })
  expect(before.find((key) => key.name === 'child_not_valid')?.definition).toMatch(/ NOT VALID$/)
  const own = before.filter((key) => key.parentOid === 0)
  expect(own.length).toBeLessThan(before.length)
  for (const key of own) await session.run(`alter table ${quoteTable(key.table)} drop constraint "${key.name}"`)
  expect(await readForeignKeys(session)).toEqual([])
  for (const key of own)
    await session.run(`alter table ${quoteTable(key.table)} add constraint "${key.name}" ${key.definition}`)
  const facts = (keys: typeof before) =>
    keys.map(({ name, table, referenced, definition, validated }) => ({
      name,
      table,
      referenced,
      definition,
      validated,
    }))
  expect(facts((await readForeignKeys(session)).filter((key) => key.parentOid === 0))).toEqual(facts(own))
})

test("Triggers have their states, and constraints' own triggers are not among them", async () => {
  await using database = await createDatabase({ sql: richSchema(major) })
  await using session = await open(database.url)
  const triggers = await readTriggers(session)
  const states = triggers.filter((trigger) => trigger.table === 'parent').map(({ name, enabled }) => [name, enabled])
  expect(states).toEqual([
    ['Touch', 'A'],
    ['audit', 'D'],
  ])
  expect(triggers.some((trigger) => trigger.name.startsWith('RI_'))).toBe(false)
  const clones = triggers.filter((trigger) => trigger.name === 'part_row')
  expect(clones.filter((trigger) => trigger.parentOid === 0).map((trigger) => trigger.table)).toEqual(['part'])
  expect(clones.length).toBeGreaterThan(1)
})

test('Sequences say which column owns them', async () => {
  await using database = await createDatabase({ sql: richSchema(major) })
  await using session = await open(database.url)
  const sequences = await readSequences(session)
  const owners = sequences.map(({ name, columnName, tableOid }) => [name, columnName, tableOid === null])
  expect(owners).toContainEqual(['shared', null, true])
  expect(owners).toContainEqual(['parent_id_seq', 'id', false])
  expect(owners).toContainEqual(['Ta"ble; Owner: x_Id_seq', 'Id', false])
})

test('Dependent materialized views come in an order in which each can be refreshed', async () => {
  await using database = await createDatabase({
    sql: `create table t (a int); create table other (a int);
          create table p (a int) partition by list (a); create table p1 partition of p for values in (1);
          create view v as select a from t;
          create materialized view z_first as select a from v;
          create view w as select a from z_first;
          create materialized view m_second as select a from w;
          create materialized view a_third as select m.a from m_second m join z_first using (a);
          create materialized view apart as select a from other;
          create materialized view parts as select a from p;
          create materialized view unpopulated as select a from t with no data`,
  })
  await using session = await open(database.url)
  const oid = async (name: string) => (await readTables(session)).find((table) => table.name === name)?.oid ?? 0
  const names = async (...tables: string[]) =>
    (await readDependentMatviews(session, await Promise.all(tables.map(oid)))).map((view) => view.name)
  expect(await names('t')).toEqual(['z_first', 'm_second', 'a_third'])
  expect(await names('other')).toEqual(['apart'])
  expect(await names('p1')).toEqual(['parts'])
  expect(await names()).toEqual([])
})

test.skipIf(major < 14)(
  'A materialized view that reads through a function with an SQL-standard body is dependent',
  async () => {
    await using database = await createDatabase({ sql: richSchema(major) })
    await using session = await open(database.url)
    const parent = (await readTables(session)).find((table) => table.name === 'parent')?.oid ?? 0
    const names = (await readDependentMatviews(session, [parent])).map((view) => view.name)
    expect(names).toEqual(['summary', 'above', 'from_function'])
  },
)

test('Extensions and roles are read by name', async () => {
  await using database = await createDatabase({ sql: 'create schema ext; create extension hstore schema ext' })
  await using session = await open(database.url)
  const extensions = await readExtensions(session)
  expect(extensions).toContainEqual({ name: 'hstore', version: expect.stringMatching(/^\d/), schema: 'ext' })
  expect(extensions).toContainEqual({ name: 'plpgsql', version: '1.0', schema: 'pg_catalog' })
  expect(await readAvailableExtensions(session)).toEqual(expect.arrayContaining(['hstore', 'pg_trgm']))
  expect(await readRoles(session)).toEqual(expect.arrayContaining(['pg_monitor', 'postgres']))
})

test('An ordinary database has nothing that stands in the way', async () => {
  await using database = await createDatabase({
    sql: 'create table t (id int primary key); create publication p for table t; alter table t enable row level security',
  })
  await using session = await open(database.url)
  expect(await readBlockers(session)).toEqual([])
})

test('What a dump does not carry and what stands in the way is named', async () => {
  const role = `reader_${randomBytes(4).toString('hex')}`
  await using database = await createDatabase({
    sql: `select lo_create(0);
          create publication everything for all tables;
          create foreign data wrapper nowhere; create server far foreign data wrapper nowhere;
          create foreign table "f.t" (a int) server far;
          create table t (a int); insert into t values (1), (1);
          create table hidden (a int); alter table hidden enable row level security; create policy p on hidden using (true);
          create function on_ddl() returns event_trigger language plpgsql as 'begin end';
          create event trigger loud on ddl_command_end execute function on_ddl();
          create role ${role} login password 'x'; grant select on all tables in schema public to ${role}`,
  })
  const client = await database.client()
  try {
    await client.query('create unique index concurrently broken on t (a)').catch(() => undefined)
    await using session = await open(database.url)
    const found = await readBlockers(session)
    expect(found.map(({ kind, name }) => [kind, name])).toEqual([
      ['event-trigger', 'loud'],
      ['foreign-table', 'public."f.t"'],
      ['invalid-index', 'public.broken'],
      ['large-objects', '1 large objects'],
      ['publication', 'everything'],
    ])
    expect(found.every(({ reason }) => reason !== '')).toBe(true)
    const url = new URL(database.url)
    url.username = role
    url.password = 'x'
    await using reader = await open(url.href)
    expect(await readBlockers(reader)).toContainEqual(
      expect.objectContaining({ kind: 'forced-row-security', name: 'public.hidden' }),
    )
    await expect(reader.query('select * from public.hidden')).rejects.toMatchObject({ code: 'permission-denied' })
  } finally {
    await client.query(`drop owned by ${role}; drop role ${role}`)
  }
})
