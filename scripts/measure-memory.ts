import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { startObjectStore } from '../shared/testing/object-store.ts'
import { startPostgres } from '../shared/testing/postgres.ts'
import { formatBytes, formatSeconds } from '../shared/src/sizes.ts'
import { agentProcessEnv, agentNodeOptions } from './agent-process.ts'
import { makeKeys } from './make-keys.ts'

/*
 * Measures the agent's peak memory on one large table: exported, created in an empty target, and replaced there.
 *
 *     pnpm measure-memory [--gigabytes 2]
 *
 * The agent runs with the settings of `pnpm agent`. The figure is the job's own peak_rss_mb: agent/src/peak-memory.ts.
 */

/** One row of the table as COPY text: random-looking text that gzip halves, as real text would. */
const ROW_BYTES = 1012
const MAIN = fileURLToPath(new URL('../agent/src/main.ts', import.meta.url))
const POLICY = `
databases: { production: { role: source }, staging: { role: both } }
routes: [{ from: production, to: staging }]
`

async function measure(gigabytes: number): Promise<void> {
  await using started = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'multiboard-sync-memory-'))
  started.defer(async () => await rm(folder, { recursive: true, force: true }))
  const postgres = started.use(
    await startPostgres({ settings: { max_wal_size: '4GB', maintenance_work_mem: '256MB' } }),
  )
  const store = started.use(await startObjectStore())
  await store.createBucket('archive')
  const rows = Math.ceil((gigabytes * 1e9) / ROW_BYTES)
  console.log(`Making one table of ${formatBytes(rows * ROW_BYTES)} of COPY text.`)
  await fill(postgres.url('postgres'), postgres.url('production'), rows)
  const keys = await makeKeys(join(folder, 'keys'))
  await writeFile(join(folder, 'agent.yaml'), POLICY)
  const env = {
    AGENT_CONFIG: join(folder, 'agent.yaml'),
    AGENT_STATE_DIR: join(folder, 'state'),
    AGENT_KEY_FILE: keys.agentKeyFile,
    TRUST_FILE: keys.trustFile,
    PRODUCTION_DATABASE_URL: postgres.url('production'),
    STAGING_DATABASE_URL: postgres.url('staging'),
    S3_ENDPOINT: store.endpoint,
    S3_BUCKET: 'archive',
    S3_ACCESS_KEY_ID: store.accessKeyId,
    S3_SECRET_ACCESS_KEY: store.secretAccessKey,
    S3_FORCE_PATH_STYLE: 'true',
  }
  const sync = ['sync', '--from', 'production', '--to', 'staging']
  await run('export', ['export', '--from', 'production'], env)
  await run('sync, engine create', sync, env)
  await run('sync, engine swap', sync, env)
  await run('undo', ['undo', '--to', 'staging'], env)
  await run('sync, engine merge', [...sync, '--engine', 'merge'], env)
  await run('sync, engine truncate', [...sync, '--engine', 'truncate'], env)
}

async function fill(maintenance: string, production: string, rows: number): Promise<void> {
  const admin = new pg.Client(maintenance)
  await admin.connect()
  await admin.query('create database production')
  await admin.query('create database staging')
  await admin.end()
  const client = new pg.Client(production)
  await client.connect()
  await client.query('create table public."Component" (id bigint primary key, description text not null)')
  await client.query(
    `insert into public."Component"
     select n, repeat(md5(n::text) || md5((-n)::text), 15) || md5((n * 7)::text) || repeat('x', 8) from generate_series(1, $1::bigint) n`,
    [rows],
  )
  await client.query('analyze')
  await client.end()
}

async function run(what: string, args: string[], env: Record<string, string>): Promise<void> {
  const child = spawn(process.execPath, [...agentNodeOptions, MAIN, ...args, '--json'], {
    env: { ...env, ...agentProcessEnv },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, 'close')])
  const result = JSON.parse(output.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>
  if (result['outcome'] !== 'succeeded') throw new Error(`${what}: ${output}`)
  const { peak_rss_mb, seconds, bytes } = result
  console.log(
    `${what.padEnd(22)} peak ${String(peak_rss_mb)} MB  ${formatBytes(Number(bytes))} in ${formatSeconds(Number(seconds))}`,
  )
}

const { values } = parseArgs({ options: { gigabytes: { type: 'string', default: '2' } } })
const gigabytes = Number(values.gigabytes)
if (!(gigabytes > 0)) {
  console.error('usage: pnpm measure-memory [--gigabytes 2]')
  process.exitCode = 2
} else await measure(gigabytes)
