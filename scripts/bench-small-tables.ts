import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import pg from 'pg'

import { startObjectStore } from '../shared/testing/object-store.ts'
import { startPostgres } from '../shared/testing/postgres.ts'
import { formatTable } from './bench/figures.ts'
import type { Ran } from './bench/messages.ts'
import { startAgent } from './bench/processes.ts'
import { makeKeys } from './make-keys.ts'
import { makeSmallTables } from './small-tables/make-small-tables.ts'

/*
 * Measures what thousands of small tables cost: pg_dump and pg_restore of them (PostgreSQL's own, from PATH, of the server's
 * major version), and a sync by the engine swap and its undo, phase by phase.
 *
 *     node scripts/bench-small-tables.ts [--tables 3000] [--major 15] [--rounds 1] [--locks 1024] [--log FOLDER]
 *
 * With --log the server writes every statement and its time into that folder.
 */

const PHASES = ['preflight', 'exporting', 'staging', 'loading', 'building', 'proving', 'swapping', 'cleanup']
const CONNECTIONS = 4

async function bench(options: { tables: number; major: number; rounds: number; locks: number; log?: string }) {
  const { tables, major, rounds, locks, log } = options
  await using started = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'multiboard-sync-small-'))
  started.defer(async () => await rm(folder, { recursive: true, force: true }))
  const settings = {
    max_locks_per_transaction: `${locks}`,
    max_wal_size: '4GB',
    shared_buffers: '512MB',
    ...(log === undefined
      ? {}
      : {
          log_min_duration_statement: '0',
          log_line_prefix: '%t|%a|%d|%p|%x|',
          logging_collector: 'on',
          log_directory: log,
          log_filename: 'server.log',
        }),
  }
  const postgres = started.use(await startPostgres({ major, settings }))
  const store = started.use(await startObjectStore())
  await store.createBucket('archive')
  say(`Making ${tables} tables, twice.`)
  await execute(postgres.url('postgres'), ['create database production'])
  await makeSmallTables(postgres.url('production'), tables)
  await execute(postgres.url('postgres'), ['create database staging template production', 'create database restored'])
  await execute(postgres.url('staging'), [`update many."T1" set note = 'old'`, 'analyze'])
  const keys = await makeKeys(join(folder, 'keys'))
  const config = join(folder, 'agent.yaml')
  await writeFile(
    config,
    `databases: { production: { role: source }, staging: { role: both } }
routes: [{ from: production, to: staging }]
limits: { connections_per_database: ${CONNECTIONS} }
`,
  )
  const agent = started.use(
    startAgent({
      PRODUCTION_DATABASE_URL: postgres.url('production'),
      STAGING_DATABASE_URL: postgres.url('staging'),
      AGENT_CONFIG: config,
      AGENT_STATE_DIR: join(folder, 'state'),
      AGENT_KEY_FILE: keys.agentKeyFile,
      TRUST_FILE: keys.trustFile,
      S3_ENDPOINT: store.endpoint,
      S3_BUCKET: 'archive',
      S3_ACCESS_KEY_ID: store.accessKeyId,
      S3_SECRET_ACCESS_KEY: store.secretAccessKey,
      S3_FORCE_PATH_STYLE: 'true',
    }),
  )
  const rows: string[][] = [['', ...Array.from({ length: rounds }, (_, round) => `round ${round + 1}, s`)]]
  const note = (name: string, seconds: number): void => {
    const row = rows.find(([one]) => one === name) ?? rows[rows.push([name]) - 1]
    row?.push(seconds.toFixed(2))
  }
  for (let round = 1; round <= rounds; round += 1) {
    say(`Round ${round} of ${rounds}.`)
    const dump = join(folder, `dump-${round}`)
    await timed('pg_dump -s', note, 'pg_dump', ['-s', '-f', `${dump}.sql`, postgres.url('production')])
    await timed('pg_dump -Fd -j2 -Z1', note, 'pg_dump', ['-Fd', '-j2', '-Z1', '-f', dump, postgres.url('production')])
    await execute(postgres.url('postgres'), ['drop database restored', 'create database restored'])
    await timed('pg_restore -j2', note, 'pg_restore', ['-j2', '-d', postgres.url('restored'), dump])
    const sync = await agent.run({ kind: 'sync', source: 'production', target: 'staging', engine: 'swap' })
    noteJob('sync', sync, note)
    const undo = await agent.run({ kind: 'undo', target: 'staging', job: sync.job })
    noteJob('undo', undo, note)
  }
  console.log(formatTable(rows))
}

function noteJob(kind: string, { marks, endedMs, result }: Ran, note: (name: string, seconds: number) => void): void {
  note(`${kind}, whole`, result.seconds)
  const phases = marks.filter(({ name }) => !name.includes('.'))
  for (const phase of PHASES) {
    const at = phases.findIndex(({ name }) => name === phase)
    const begun = phases[at]
    if (begun) note(`${kind}, ${phase}`, ((phases[at + 1]?.atMs ?? endedMs) - begun.atMs) / 1000)
  }
  for (const event of ['stage.made', 'swap.done']) {
    const lockedMs = marks.find(({ name }) => name === event)?.data['locked_ms']
    if (lockedMs !== undefined) note(`${kind}, locked at ${event}`, Number(lockedMs) / 1000)
  }
}

async function timed(
  name: string,
  note: (name: string, seconds: number) => void,
  program: string,
  args: string[],
): Promise<void> {
  const from = performance.now()
  await promisify(execFile)(program, args)
  note(name, (performance.now() - from) / 1000)
}

async function execute(url: string, statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  for (const sql of statements) await client.query(sql)
  await client.end()
}

function say(text: string): void {
  console.error(text)
}

const { values } = parseArgs({
  options: {
    tables: { type: 'string', default: '3000' },
    major: { type: 'string', default: '15' },
    rounds: { type: 'string', default: '1' },
    locks: { type: 'string', default: '1024' },
    log: { type: 'string' },
  },
})
const { log } = values
await bench({
  tables: Number(values.tables),
  major: Number(values.major),
  rounds: Number(values.rounds),
  locks: Number(values.locks),
  ...(log === undefined ? {} : { log }),
})
