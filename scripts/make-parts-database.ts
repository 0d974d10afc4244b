import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

import { fillings, temporaryFunctions } from './parts-database/rows.ts'

/*
 * Makes a database like the one this project was written for: a library of printable parts, as Prisma would make it.
 * All rows are made inside PostgreSQL. 800,000 components give some 950 MB of COPY text; size and time are linear.
 *
 *     node scripts/make-parts-database.ts <url of an empty database> [--components N] [--seed N] [--aged]
 */

export interface PartsOptions {
  components: number
  /** Another seed gives other ids and texts. Default 1. */
  seed?: number
  /** `"Component"` alone is kept, with all its indexes: one big table. */
  tableOnly?: boolean
  onProgress?: (text: string) => void
  signal?: AbortSignal
}

/** Some 60 MB of rows at a time: progress shows, and no statement runs for minutes. */
const numbersPerStatement = 50_000

const pg = createRequire(new URL('../shared/package.json', import.meta.url))('pg') as typeof import('pg')

/** Fills an empty database. The same options give the same rows, but for nothing. Fails when there are such tables already. */
export async function makePartsDatabase(url: string, options: PartsOptions): Promise<{ tables: number; rows: number }> {
  const { components, seed = 1, tableOnly = false, onProgress, signal } = options
  if (!Number.isSafeInteger(components) || components < 1) throw new RangeError('components must be 1 or more')
  await using session = await connect(url, signal)
  const { client } = session
  await client.query(await statements('tables'))
  await client.query(temporaryFunctions)
  let rows = 0
  const filled = fillings.filter(({ table }) => !tableOnly || ['Category', 'User', 'Component'].includes(table))
  for (const { table, numbers, sql } of filled) {
    const last = numbers(components)
    for (let first = 1; first <= last; first += numbersPerStatement) {
      const upTo = Math.min(last, first + numbersPerStatement - 1)
      const inserted = await client.query(sql, [first, upTo, components, String(seed)])
      rows += inserted.rowCount ?? 0
      onProgress?.(`${table} ${upTo} of ${last}`)
    }
  }
  onProgress?.('keys and indexes')
  await client.query(await statements('keys'))
  if (tableOnly) await client.query(await statements('alone'))
  await client.query('analyze')
  return { tables: tableOnly ? 1 : filled.length, rows }
}

/** The same tables, keys and indexes without a row. */
export async function makeEmptyPartsDatabase(url: string, options: { tableOnly: boolean }): Promise<void> {
  await using session = await connect(url, undefined)
  await session.client.query(await statements('tables'))
  await session.client.query(await statements('keys'))
  if (options.tableOnly) await session.client.query(await statements('alone'))
}

/** Makes a parts database differ from its origin, as an old staging does: rows missing, changed and added; the same schema. */
export async function ageDatabase(url: string, options: { signal?: AbortSignal } = {}): Promise<void> {
  await using session = await connect(url, options.signal)
  await session.client.query(await statements('aged'))
  await session.client.query('analyze')
}

async function statements(name: 'tables' | 'keys' | 'alone' | 'aged'): Promise<string> {
  return await readFile(new URL(`parts-database/${name}.sql`, import.meta.url), 'utf8')
}

async function connect(url: string, signal: AbortSignal | undefined) {
  signal?.throwIfAborted()
  const client = new pg.Client({ connectionString: url, application_name: 'make-parts-database' })
  client.on('error', () => undefined)
  await client.connect()
  const stop = () => client.connection.stream.destroy()
  signal?.addEventListener('abort', stop)
  const close = async () => {
    signal?.removeEventListener('abort', stop)
    await client.end()
  }
  try {
    await client.query(
      `set statement_timeout = 0; set maintenance_work_mem = '256MB'; set client_min_messages = warning`,
    )
  } catch (error) {
    await close()
    throw error
  }
  return { client, [Symbol.asyncDispose]: close }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      components: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
      aged: { type: 'boolean', default: false },
    },
  })
  const [url] = positionals
  if (url === undefined) {
    console.error('usage: node scripts/make-parts-database.ts <url> [--components N] [--seed N] [--aged]')
    process.exitCode = 2
  } else {
    const onProgress = (text: string) => console.log(text)
    const made = await makePartsDatabase(url, {
      components: Number(values.components),
      seed: Number(values.seed),
      onProgress,
    })
    if (values.aged) await ageDatabase(url)
    console.log(`${made.tables} tables, ${made.rows} rows${values.aged ? ', then aged' : ''}`)
  }
}
