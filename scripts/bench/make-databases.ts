import pg from 'pg'

import { ageDatabase, makePartsDatabase } from '../make-parts-database.ts'
import type { Reading } from './messages.ts'

/** A pair of databases that a job copies between, and who reads the target meanwhile. */
export interface Case {
  title: string
  from: string
  to: string
  tables: number
  reading: Reading
}

export interface Databases {
  cases: Case[]
  names: string[]
}

/** Rows of each small table: what is measured with many tables is what a table costs, not a row. */
const ROWS_A_TABLE = 20
const OUTSIDE = 500
const MANY = [100, 500]

/** As fast readers read: by a key, straight and through a view. */
export const partsReading: Reading = {
  reads: [
    'select id, name, price from public."Component" where id = $1',
    'select id, name, "categoryName", "authorName" from public."PublishedComponent" where id = $1',
    'select id, name, price from public."Component" where id = $1',
    'select id, name, "categoryName", "authorName" from public."PublishedComponent" where id = $1',
  ],
  ids: 'select id from public."Component" order by id limit 1000',
}

export const manyReading: Reading = {
  reads: [
    'select id, note from many."T1" where id = $1',
    'select id, note from many."V1" where id = $1',
    'select id, note from many."T2" where id = $1',
    'select id, note from many."V2" where id = $1',
  ],
  ids: 'select id from many."T1"',
}

/** Makes the databases in an empty server. `url` gives the URL of a database by its name. */
export async function makeDatabases(url: (name: string) => string, components: number): Promise<Databases> {
  await using admin = await connect(url('postgres'))
  const create = async (name: string, template = 'template0'): Promise<void> =>
    void (await admin.client.query(`create database ${name} template ${template}`))
  await create('production')
  await makePartsDatabase(url('production'), { components })
  await create('staging', 'production')
  await ageDatabase(url('staging'))
  await create('crowded', 'staging')
  await makeMany(url('crowded'), 'other', OUTSIDE)
  const names = ['production', 'staging', 'crowded']
  const parts = { from: 'production', tables: 8, reading: partsReading }
  const cases: Case[] = [
    { title: '8 tables', to: 'staging', ...parts },
    { title: `8 tables, ${OUTSIDE} outside`, to: 'crowded', ...parts },
  ]
  for (const tables of MANY) {
    const [from, to] = [`many${tables}`, `staging${tables}`]
    await create(from)
    await makeMany(url(from), 'many', tables)
    await create(to, from)
    await execute(url(to), `update many."T1" set note = 'old'`)
    names.push(from, to)
    cases.push({ title: `${tables} tables`, from, to, tables, reading: manyReading })
  }
  return { cases, names }
}

/** Tables with a serial primary key, two more indexes and a foreign key to the one before; a view on every fifth and on the first two. */
export async function makeMany(url: string, schema: string, count: number, rows = ROWS_A_TABLE): Promise<void> {
  const on = (table: string): string => `${schema}."${table}"`
  const sql = [`create schema ${schema}`]
  for (let n = 1; n <= count; n += 1) {
    const table = on(`T${n}`)
    sql.push(
      `create table ${table} (
         id bigserial primary key, before bigint, note text not null, price numeric(12, 4) default 1 check (price > 0),
         "createdAt" timestamptz default now() not null)`,
      `insert into ${table} (before, note) select n, 'note ' || n from generate_series(1, ${rows}) n`,
      `create index "T${n}_before_idx" on ${table} (before)`,
      `create index "T${n}_note_idx" on ${table} (note)`,
    )
    if (n > 1) sql.push(`alter table ${table} add foreign key (before) references ${on(`T${n - 1}`)}`)
    if (n <= 2 || n % 5 === 0) sql.push(`create view ${on(`V${n}`)} as select id, note from ${table} where price > 0`)
  }
  await execute(url, [...sql, 'analyze'].join(';\n'))
}

async function execute(url: string, sql: string): Promise<void> {
  await using session = await connect(url)
  await session.client.query(sql)
}

async function connect(url: string) {
  const client = new pg.Client({ connectionString: url, application_name: 'bench' })
  await client.connect()
  return { client, [Symbol.asyncDispose]: async () => await client.end() }
}
