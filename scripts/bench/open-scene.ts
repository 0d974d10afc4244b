import { existsSync, statfsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { formatBytes, formatCount } from '../../shared/src/sizes.ts'
import { startPostgres, type PostgresServer } from '../../shared/testing/postgres.ts'
import { makeEmptyPartsDatabase, makePartsDatabase } from '../make-parts-database.ts'
import { makeMany, manyReading, partsReading } from './make-databases.ts'
import type { Reading } from './messages.ts'
import { BYTES_PER_COMPONENT, type CompareOptions } from './options.ts'

/** Both servers have these, and are otherwise as PostgreSQL comes: durable, as in earnest. */
export const SETTINGS = {
  shared_buffers: '1GB',
  maintenance_work_mem: '512MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '15min',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  // Thousands of tables, twice, with their indexes and keys.
  max_locks_per_transaction: '1024',
}
/** Copies of the rows that lie on the disk at once: source, target, the previous tables or a dump, archives; WAL besides. */
const COPIES = 3
const WAL_BYTES = 16e9
const BYTES_PER_SMALL_TABLE = 80e3
const SAY_EVERY_MS = 5000

export interface Scene extends AsyncDisposable {
  source: PostgresServer
  target: PostgresServer
  folder: string
  rows: number
  tables: number
  /** What PostgreSQL says of the source's size. */
  bytes: number
  /** What readers of the target read. */
  reading: Reading
  /** Makes the target's database anew: with the empty tables, or with nothing. Everything is written out before. */
  freshTarget(as: 'tables' | 'nothing'): Promise<void>
}

/** Two servers of their own, so that the work of source and target can be told apart. */
export async function openScene(options: CompareOptions, say: (text: string) => void): Promise<Scene> {
  const { major, components, tableOnly, tables } = options
  await using started = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'multiboard-sync-bench-'))
  started.defer(async () => await rm(folder, { recursive: true, force: true }))
  checkDisk(folder, bytesOf(options), say)
  const wanted = JSON.stringify(tables === undefined ? { components, tableOnly, major } : { tables, major })
  const kept = options.source
  if (kept !== undefined) await mkdir(kept, { recursive: true })
  const isMade =
    kept !== undefined && existsSync(join(kept, 'made')) && (await readFile(join(kept, 'made'), 'utf8')) === wanted
  if (kept !== undefined && !isMade && existsSync(join(kept, 'data'))) {
    throw new Error(`${kept} holds another database: remove it, or ask for the same rows.`)
  }
  const sourceDir = kept === undefined ? {} : { dataDir: join(kept, 'data') }
  const source = started.use(await startPostgres({ major, settings: SETTINGS, ...sourceDir }))
  const target = started.use(await startPostgres({ major, settings: SETTINGS }))
  if (!isMade) await makeSource(source, options, say)
  if (kept !== undefined) await writeFile(join(kept, 'made'), wanted)
  await execute(target.url('postgres'), 'create database empty template template0')
  if (tables === undefined) await makeEmptyPartsDatabase(target.url('empty'), { tableOnly })
  else await makeMany(target.url('empty'), 'many', tables, 0)
  const size = await sizeOf(source.url('production'))
  say(`The source has ${formatCount(size.rows)} rows in ${size.tables} tables, ${formatBytes(size.bytes)}.`)
  const resources = started.move()
  return {
    source,
    target,
    folder,
    ...size,
    reading: readingOf(options),
    async freshTarget(as) {
      await execute(target.url('postgres'), 'drop database if exists staging with (force)')
      await execute(
        target.url('postgres'),
        `create database staging template ${as === 'tables' ? 'empty' : 'template0'}`,
        'checkpoint',
      )
      await execute(source.url('postgres'), 'checkpoint')
    },
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

function bytesOf({ components, tableOnly, tables }: CompareOptions): number {
  if (tables !== undefined) return tables * BYTES_PER_SMALL_TABLE
  return components * BYTES_PER_COMPONENT[tableOnly ? 'table' : 'parts']
}

function readingOf({ tableOnly, tables }: CompareOptions): Reading {
  if (tables !== undefined) return manyReading
  const { reads, ids } = partsReading
  return tableOnly ? { reads: reads.filter((sql) => !sql.includes('Published')), ids } : partsReading
}

function checkDisk(folder: string, bytes: number, say: (text: string) => void): void {
  const { bavail, bsize } = statfsSync(folder)
  const [free, needed] = [bavail * bsize, bytes * COPIES + WAL_BYTES]
  say(`Some ${formatBytes(bytes)} of rows and indexes; up to ${formatBytes(needed)} of ${formatBytes(free)} free disk.`)
  if (free < needed) throw new Error(`${folder} has too little room; set TMPDIR to a folder that has more.`)
}

async function makeSource(server: PostgresServer, options: CompareOptions, say: (text: string) => void) {
  const { components, tableOnly, tables } = options
  say(`Making the database: ${tables === undefined ? `${formatCount(components)} components` : `${tables} tables`}.`)
  await execute(server.url('postgres'), 'create database production template template0')
  let saidAtMs = performance.now()
  const onProgress = (text: string): void => {
    if (performance.now() - saidAtMs < SAY_EVERY_MS) return
    saidAtMs = performance.now()
    say(`  ${text}`)
  }
  if (tables === undefined) await makePartsDatabase(server.url('production'), { components, tableOnly, onProgress })
  else await makeMany(server.url('production'), 'many', tables)
  // As a database that has been in use for a while: what is read first writes nothing.
  say('  vacuum')
  await execute(server.url('production'), 'vacuum (freeze, analyze)')
}

async function sizeOf(url: string): Promise<{ rows: number; tables: number; bytes: number }> {
  const { rows } = await execute(
    url,
    `select count(*)::int as tables, sum(reltuples)::float8 as rows, pg_database_size(current_database())::float8 as bytes
     from pg_class where relkind = 'r' and relnamespace in ('public'::regnamespace, to_regnamespace('many'))`,
  )
  const [size] = rows as [{ rows: number; tables: number; bytes: number }]
  return size
}

/** Answers what the last of them answered. */
async function execute(url: string, ...statements: string[]): Promise<{ rows: unknown[] }> {
  const client = new pg.Client({ connectionString: url, application_name: 'bench' })
  await client.connect()
  try {
    let answer: { rows: unknown[] } = { rows: [] }
    for (const sql of statements) answer = await client.query(sql)
    return answer
  } finally {
    await client.end()
  }
}
