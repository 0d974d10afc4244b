import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { afterEach, beforeEach, expect, test } from 'vitest'

import { askSearch } from '../../scripts/search-server.ts'
import { startTypesense } from '../testing/typesense.ts'
import { until, withDeadline } from '../testing/postgres/deadline.ts'
import { temporaryRoot, unprivilegedUser } from '../testing/postgres/unprivileged-user.ts'

const script = fileURLToPath(new URL('../../scripts/demo.ts', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))
/** On two busy cores; it takes some 15 s on idle ones. */
const demoTimeoutMs = 150_000
const putAwayTimeoutMs = 30_000
const testTimeoutMs = 200_000

/** A temporary folder of the test's own: what the demo leaves in there is what it leaves behind. */
let folder: string
let child: ChildProcess | undefined
let searchKey = ''

beforeEach(async () => {
  folder = await mkdtemp(join(temporaryRoot(unprivilegedUser()), 'demo-test-'))
  await chmod(folder, 0o755)
})

afterEach(async () => {
  if (child && child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
  searchKey = ''
  await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

const environment = () => ({ ...process.env, TMPDIR: folder, TYPESENSE_API_KEY: searchKey })

/** What is there besides what PostgreSQL's programs and Node keep for the next time. */
async function leftBehind(): Promise<string[]> {
  return (await readdir(folder)).filter((name) => !/^(embedded-postgres-|node-compile-cache)/.test(name))
}

async function run(...args: string[]) {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [script, ...args], {
    cwd: root,
    env: environment(),
    timeout: demoTimeoutMs,
  }).catch((error: Error & { stdout?: string; stderr?: string; code?: number }) => {
    if (error.stdout === undefined) throw error
    return { stdout: error.stdout, stderr: `${error.stderr ?? ''}\nexit code ${String(error.code)}` }
  })
  return { stdout, stderr, lastLine: stdout.trimEnd().split('\n').at(-1) ?? '' }
}

/** Starts the demo and waits for a line; answers the processes it has started by then. */
async function runUntil(line: RegExp, ...args: string[]): Promise<{ demo: ChildProcess; others: number[] }> {
  const demo = spawn(process.execPath, [script, ...args], {
    cwd: root,
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  child = demo
  const reached = (async () => {
    for await (const text of createInterface({ input: demo.stdout })) if (line.test(text)) return
    throw new Error('the demo ended before')
  })()
  await withDeadline(`the demo prints ${line.source}`, demoTimeoutMs, reached)
  demo.stdout.resume()
  return { demo, others: await descendants(demo.pid ?? 0) }
}

async function descendants(pid: number): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid='])
  const pairs = stdout.split('\n').map((text) => text.trim().split(/\s+/).map(Number))
  const below = (of: number): number[] =>
    pairs.flatMap(([one = 0, parent]) => (parent === of ? [one, ...below(one)] : []))
  return below(pid)
}

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function expectNothingLeft(others: number[]): Promise<void> {
  expect(others.length).toBeGreaterThan(3)
  await until('every process of the demo has ended', putAwayTimeoutMs, () => !others.some(runs))
  await until('its folders are gone', putAwayTimeoutMs, async () => (await leftBehind()).length === 0)
}

test('The demo proves a sync and leaves nothing behind', { timeout: testTimeoutMs }, async () => {
  const { stdout, lastLine, stderr } = await run('--once', '--json', '--components', '300')
  expect(stdout.trimEnd().split('\n'), stderr).toHaveLength(1)
  const outcome: unknown = JSON.parse(lastLine)
  expect(outcome).toEqual({
    outcome: 'succeeded',
    code: null,
    message: null,
    hint: null,
    details: [],
    job: expect.stringMatching(/^j[0-9a-z]{12}$/),
    kind: 'sync',
    engine: 'swap',
    archive: expect.stringMatching(/-production-/),
    safety_backup: expect.stringMatching(/-staging-/),
    target_state: 'changed',
    tables: 8,
    rows: expect.any(Number),
    bytes: expect.any(Number),
    seconds: expect.any(Number),
    peak_rss_mb: expect.any(Number),
    undoable: true,
    late_writes: 0,
    proof: expect.arrayContaining([
      { table: 'public.Component', rows_expected: 300, rows_found: 300, checksum: 'equal' },
    ]),
    search: {
      state: 'fresh',
      collections: [expect.objectContaining({ alias: 'components', state: 'fresh', documents: 300 })],
    },
    found: {
      before: [
        {
          query: 'only on staging',
          found: 7,
          hits: expect.arrayContaining([expect.stringMatching(/^Only on staging/)]),
        },
        { query: 'wall tile', found: expect.any(Number), hits: expect.anything() },
      ],
      after: [
        { query: 'only on staging', found: 0, hits: [] },
        {
          query: 'wall tile',
          found: 38,
          hits: [expect.stringMatching(/^Wall tile/), expect.stringMatching(/^Wall tile/)],
        },
      ],
    },
  })
  expect(stderr).toContain('Proven: 8 of 8 tables')
  expect(stderr).toMatch(/public\.Component +300 +300 +equal/)
  expect(stderr).toContain('a stand-in for Typesense')
  expect(stderr.match(/"only on staging" +\d+ found/g)).toHaveLength(2)
  expect(await leftBehind()).toEqual([])
})

test(
  "A dump of one's own becomes production, and is created in an empty staging",
  { timeout: testTimeoutMs },
  async () => {
    const dump = join(folder, 'own.sql')
    await writeFile(
      dump,
      "create table note (id int primary key, text text);\ninsert into note values (1, 'a'), (2, 'b');\n",
    )
    const { lastLine, stderr } = await run('--once', '--json', '--load', dump)
    expect(JSON.parse(lastLine), stderr).toMatchObject({
      outcome: 'succeeded',
      engine: 'create',
      safety_backup: null,
      tables: 1,
      rows: 2,
      found: null,
    })
    expect(stderr).not.toMatch(/search|Typesense/i)
  },
)

test('A sync that is refused ends the demo with its reason and exit code 3', { timeout: testTimeoutMs }, async () => {
  const [dump, stage] = [join(folder, 'own.sql'), join(folder, 'old.sql')]
  await writeFile(dump, 'create table note (id int primary key, text text);\n')
  await writeFile(stage, 'create table note (id int primary key);\n')
  const { lastLine, stderr } = await run('--once', '--json', '--load', dump, '--stage', stage)
  expect(JSON.parse(lastLine), stderr).toMatchObject({
    outcome: 'refused',
    code: 'schema-mismatch',
    job: expect.stringMatching(/^j/),
    target_state: 'untouched',
  })
  expect(stderr).toContain('column "text" of public.note is missing in the target')
  expect(stderr).toContain('exit code 3')
})

test('A dump that cannot be loaded ends the demo with a reason and a failure', { timeout: testTimeoutMs }, async () => {
  const dump = join(folder, 'own.sql')
  await writeFile(dump, 'create table note (id no_such_type);\n')
  const { lastLine, stderr } = await run('--once', '--json', '--load', dump)
  expect(JSON.parse(lastLine)).toMatchObject({ outcome: 'failed', code: 'load-failed', job: null })
  expect(stderr).toContain('no_such_type')
  expect(stderr).toContain('exit code 1')
  expect(await leftBehind()).toEqual(['own.sql'])
})

test.each([
  ['--components', 'many'],
  ['--components', '0'],
  ['--load', 'no-such-file.sql'],
  ['--stage', 'old.sql'],
  ['--wrong', 'option'],
  ['--typesense', 'search.example.com'],
  ['--typesense', 'http://127.0.0.1:1'],
])('Bad options %s %s are answered with a sentence and exit code 2', async (...args) => {
  const { stdout, stderr } = await run(...args)
  expect(stdout).toBe('')
  expect(stderr).toMatch(/^\S.+\nSee --help\.\n\nexit code 2$/)
})

test('Ctrl-C in the middle of a job takes everything down', { timeout: testTimeoutMs }, async () => {
  const { demo, others } = await runUntil(/^POST/, '--components', '3000')
  const exit = once(demo, 'exit')
  demo.kill('SIGINT')
  await withDeadline('the end of the demo', putAwayTimeoutMs, exit)
  expect(demo.exitCode).toBe(1)
  await expectNothingLeft(others)
})

test('A demo that is killed takes everything with it', { timeout: testTimeoutMs }, async () => {
  const { demo, others } = await runUntil(/^POST/, '--components', '3000')
  demo.kill('SIGKILL')
  await expectNothingLeft(others)
})

test('While the demo is up, the commands it prints work; Ctrl-C ends it well', { timeout: testTimeoutMs }, async () => {
  // As a real one would be given; somebody else's collection is there, too.
  await using search = await startTypesense({ apiKey: 'key of somebody' })
  const other = { name: 'components__other', fields: [{ name: 'name', type: 'string' }] }
  await askSearch(search, 'POST', '/collections', { body: other })
  searchKey = search.apiKey
  const { demo, others } = await runUntil(/^Up until/, '--components', '300', '--typesense', search.url)
  const [alias = ''] = search.aliases().keys()
  expect(alias).toMatch(/^multiboard_sync_demo_/)
  expect(search.collections().filter((name) => name.startsWith(`${alias}__`))).not.toEqual([])
  const [own = ''] = (await leftBehind()).filter((name) => name.startsWith('multiboard-sync-demo-'))
  const envFile = join(folder, own, 'demo.env')
  expect(existsSync(envFile)).toBe(true)
  expect(await readFile(envFile, 'utf8')).toMatch(/^ADMIN_TOKEN='.+'$/m)
  const main = fileURLToPath(new URL('../../agent/src/main.ts', import.meta.url))
  const listed = await promisify(execFile)('sh', [
    '-c',
    'set -a; . "$1"; set +a; exec "$2" "$3" archives --json',
    'sh',
    envFile,
    process.execPath,
    main,
  ])
  expect(JSON.parse(listed.stdout)).toMatchObject({ archives: [{ kind: 'safety-backup' }, { kind: 'export' }] })
  const exit = once(demo, 'exit')
  demo.kill('SIGINT')
  await withDeadline('the end of the demo', putAwayTimeoutMs, exit)
  expect(demo.exitCode).toBe(0)
  await expectNothingLeft(others)
  expect([...search.aliases()]).toEqual([])
  expect(search.collections()).toEqual([other.name])
})
