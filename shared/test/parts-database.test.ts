import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import type pg from 'pg'
import { expect, test } from 'vitest'

import { ageDatabase, makePartsDatabase } from '../../scripts/make-parts-database.ts'
import { createDatabase, templateDatabase } from '../testing/test-database.ts'

const components = 500

async function parts(): Promise<string> {
  return await templateDatabase(`parts ${components}`, async ({ url }) => {
    await makePartsDatabase(url, { components })
  })
}

async function column(client: pg.Client, sql: string): Promise<unknown[]> {
  const { rows } = await client.query({ text: sql, rowMode: 'array' })
  return rows.flat()
}

/** One line for each table: rows and an order-independent checksum. */
async function contents(client: pg.Client): Promise<Record<string, string>> {
  const tables = await column(
    client,
    `select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1`,
  )
  const found: Record<string, string> = {}
  for (const table of tables as string[]) {
    const [line] = await column(
      client,
      `select count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) from "${table}" as t`,
    )
    found[table] = String(line)
  }
  return found
}

const schemaSql = `
  select string_agg(line, E'\\n' order by line) from (
    select format('%s.%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull) from pg_attribute
      join pg_class on pg_class.oid = attrelid where relnamespace = 'public'::regnamespace and attnum > 0
    union all select conrelid::regclass || pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace
    union all select indexdef from pg_indexes where schemaname = 'public'
    union all select pg_get_viewdef(oid) from pg_class where relkind in ('v', 'm') and relnamespace = 'public'::regnamespace
    union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
  ) as lines (line)`

test('The parts database has the kinds of objects and values that a sync must carry', async () => {
  await using database = await createDatabase({ template: await parts() })
  const client = await database.client()
  const counts = await client.query(`
    select (select count(*)::int from "Component") as components, (select count(*)::int from "File") as files,
           (select count(*)::int from "Remix") as remixes, (select count(*)::int from "Session") as sessions,
           (select count(*)::int from pg_constraint where contype = 'f') as foreign_keys,
           (select count(*)::int from pg_constraint where contype = 'f' and array_length(conkey, 1) = 2) as composite_keys`)
  expect(counts.rows).toEqual([
    { components, files: 2 * components, remixes: components, sessions: 25, foreign_keys: 9, composite_keys: 2 },
  ])
  const kinds = await column(
    client,
    `select relkind::text || count(*) from pg_class where relnamespace = 'public'::regnamespace group by relkind order by 1`,
  )
  expect(kinds).toEqual(['S3', 'i22', 'm1', 'r8', 'v1'])
  const values = await client.query(`
    select bool_or(description like E'%\\t%') as tab, bool_or(description like '%\\\\%') as backslash,
           bool_or(position(E'\\n\\\\.\\n' in description) > 0) as "end of copy", bool_or(description ~ '[ö適]') as unicode, bool_or(description is null) as "null",
           bool_or(rating = 'NaN') as nan, bool_or(tags = '{}') as "empty array", bool_or(thumbnail is not null) as bytes,
           bool_and("searchName" = lower(name)) as generated, count(distinct status)::int as statuses, bool_or(specs -> 'material' = 'null') as "json null"
    from "Component"`)
  expect(values.rows).toEqual([
    {
      tab: true,
      backslash: true,
      'end of copy': true,
      unicode: true,
      null: true,
      nan: true,
      'empty array': true,
      bytes: true,
      generated: true,
      statuses: 4,
      'json null': true,
    },
  ])
  const [view, stats] = await column(
    client,
    `select (select count(*) > 0 from "PublishedComponent"), (select sum(components)::int from "CategoryStats")`,
  )
  expect([view, stats]).toEqual([true, components])
})

test('The trigger keeps updatedAt, unless a value is given', async () => {
  await using database = await createDatabase({ template: await parts() })
  const client = await database.client()
  const [touched] = await column(
    client,
    `
    with first as (select id from "Component" order by id limit 1)
    update "Component" set price = 1 where id in (select id from first) returning now() - "updatedAt" < interval '1 minute'`,
  )
  const [given] = await column(
    client,
    `
    with first as (select id from "Component" order by id limit 1)
    update "Component" set "updatedAt" = '2020-01-01 00:00Z' where id in (select id from first) returning "updatedAt" = '2020-01-01 00:00Z'`,
  )
  expect([touched, given]).toEqual([true, true])
})

test('The same seed gives the same rows, another seed gives others', async () => {
  await using one = await createDatabase({ template: await parts() })
  await using same = await createDatabase()
  await using other = await createDatabase()
  const made = await makePartsDatabase(same.url, { components })
  await makePartsDatabase(other.url, { components, seed: 2 })
  const [first, second, third] = await Promise.all(
    [one, same, other].map(async (each) => await contents(await each.client())),
  )
  expect(second).toEqual(first)
  const rows = Object.values(first ?? {}).reduce((sum, line) => sum + Number.parseInt(line, 10), 0)
  expect(made).toEqual({ tables: 8, rows })
  expect(third?.['Component']).not.toBe(first?.['Component'])
})

test('An aged copy has rows missing, changed and added, other sequences, and the same schema', async () => {
  const template = await parts()
  await using production = await createDatabase({ template })
  await using staging = await createDatabase({ template })
  await ageDatabase(staging.url)
  const before = await production.client()
  const after = await staging.client()
  expect(await column(after, schemaSql)).toEqual(await column(before, schemaSql))
  const [was, is] = await Promise.all([before, after].map(contents))
  for (const table of ['Component', 'File', 'Remix', 'Session', 'Tag', 'User', '_ComponentToTag']) {
    expect(is?.[table]).not.toBe(was?.[table])
  }
  const ids = 'select id from "Component"'
  const [had, has] = [await column(before, ids), await column(after, ids)]
  expect(had.filter((id) => !has.includes(id)).length).toBeGreaterThan(5)
  expect(has.filter((id) => !had.includes(id)).length).toBeGreaterThan(5)
  const sequences = `select sequencename::text, last_value::int from pg_sequences order by 1`
  expect(await column(after, sequences)).not.toEqual(await column(before, sequences))
})

test.each([1, 2, 7])('%i components are enough for a whole database', async (few) => {
  await using database = await createDatabase()
  const { tables, rows } = await makePartsDatabase(database.url, { components: few })
  expect(tables).toBe(8)
  expect(rows).toBeGreaterThan(240 + 4 * few)
  await ageDatabase(database.url)
})

test('The command makes an aged database, and says what it wants when it gets nothing', async () => {
  await using database = await createDatabase()
  const command = fileURLToPath(new URL('../../scripts/make-parts-database.ts', import.meta.url))
  const run = async (...args: string[]) =>
    await promisify(execFile)(process.execPath, [command, ...args], { timeout: 30_000 })
  const { stdout } = await run(database.url, '--components', '20', '--aged')
  expect(stdout).toMatch(/8 tables, \d+ rows, then aged\n$/)
  await expect(run()).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('usage: ') as string })
})

test('A database that has such tables already is left as it is', async () => {
  await using database = await createDatabase({ template: await parts() })
  const client = await database.client()
  const before = await contents(client)
  await expect(makePartsDatabase(database.url, { components })).rejects.toMatchObject({ code: '42710' })
  expect(await contents(client)).toEqual(before)
})
