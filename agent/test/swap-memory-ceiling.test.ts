import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { templateDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, it } from 'vitest'
import { agentNodeOptions, agentProcessEnv } from '../../scripts/agent-process.ts'
import { ageDatabase, makePartsDatabase } from '../../scripts/make-parts-database.ts'
import { openWorld } from './road/world.ts'

/*
 * The ceiling of the agent's memory, held by a gigabyte that really passes through it: out of the source, into the archive
 * and into the target, and by a safety backup of a smaller one besides. Memory is what counts here; time does not.
 */

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))
/** It takes half a minute on two quiet cores, and ten times that on busy ones. */
const DEADLINE_MS = 480_000
const GIGABYTE = 1e9
const CEILING_MB = 256
/**
 * V8's heap may not grow beyond it: what it would hold of a table's rows would end the process. A job needs some 40 MB, and
 * pg_dump's worker has a heap of its own.
 */
const HEAP_MB = 72
/** Often enough not to miss the last value, which is the highest. */
const LOOK_EVERY_MS = 20

const COMPONENTS = 2000
/** 8 kB a row, which PostgreSQL keeps in 100 bytes: made, stored and packed as fast as nothing else of this size. */
const WIDE_ROWS = 115_000
/** A kilobyte a row that packs to a half at best: uploads of many parts, and pages enough to be cut into slices. */
const DENSE_ROWS = 100_000

const TABLES = `
create table public."Wide" (id bigint primary key, content text not null);
create table public."Dense" (id bigint primary key, component bigint not null, content text not null);
create index "Dense_component_idx" on public."Dense" (component);`

const fill = (wide: number, dense: number): string => `
insert into public."Wide"
select n, 'row ' || n || repeat(' of highly compressible text', 300) from generate_series(1, ${wide}) n;
insert into public."Dense"
select n, n % 1000, (select string_agg(md5(n || '.' || i), '') from generate_series(1, 31) i) from generate_series(1, ${dense}) n;
analyze`

async function template(key: string, wide: number, dense: number, isAged: boolean): Promise<string> {
  return await templateDatabase(key, async (database) => {
    await makePartsDatabase(database.url, { components: COMPONENTS })
    if (isAged) await ageDatabase(database.url)
    const client = await database.client()
    await client.query(TABLES + fill(wide, dense))
    await client.end()
  })
}

/** Runs the agent's command line as `pnpm agent` does, and looks at its memory from outside, too. */
async function runAgent(args: string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [...agentNodeOptions, `--max-old-space-size=${HEAP_MB}`, MAIN, ...args], {
    env: { ...env, ...agentProcessEnv },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: DEADLINE_MS,
  })
  let peakMb = 0
  const timer = setInterval(() => {
    peakMb = Math.max(peakMb, peakOf(child.pid ?? 0))
  }, LOOK_EVERY_MS)
  try {
    const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    const [stdout, stderr] = await ended
    const result = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>
    return { result, stderr, peakMb }
  } finally {
    clearInterval(timer)
  }
}

/** VmHWM of proc(5), which counts in KiB, in MB; 0 where there is no such file. */
function peakOf(pid: number): number {
  try {
    return (Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024) / 1e6
  } catch {
    return 0
  }
}

it(
  'a gigabyte is synced by a process that never takes more than 256 MB',
  async () => {
    const source = await template('memory-ceiling', WIDE_ROWS, DENSE_ROWS, false)
    const target = await template('memory-ceiling-old', WIDE_ROWS / 10, DENSE_ROWS / 10, true)
    await using world = await openWorld({ source: { template: source }, target: { template: target } })
    const { result, stderr, peakMb } = await runAgent(
      ['sync', '--from', 'production', '--to', 'staging', '--json'],
      world.env,
    )
    expect(result, stderr).toMatchObject({ outcome: 'succeeded', engine: 'swap' })
    expect(Number(result['bytes'])).toBeGreaterThan(GIGABYTE)
    console.log(
      `${Number(result['bytes']) / GIGABYTE} GB in ${Number(result['seconds'])} s, peak ${Math.round(peakMb)} MB`,
    )
    expect(Number(result['peak_rss_mb'])).toBeLessThanOrEqual(CEILING_MB)
    expect(peakMb).toBeLessThanOrEqual(CEILING_MB)
  },
  DEADLINE_MS + 60_000,
)
