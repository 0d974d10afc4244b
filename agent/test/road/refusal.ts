import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TargetState } from '@multiboard-sync/shared/job'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import type { TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { expect, vi } from 'vitest'
import { readFingerprintLines } from '../../src/postgres/fingerprint.ts'
import { openSession } from '../../src/postgres/session.ts'
import { runJobHere } from './values-job.ts'
import type { World } from './world.ts'

/*
 * What must be true of every job that is refused or fails: it says why in a sentence and what to do, it has changed
 * nothing, and nothing that is nobody's business is in what it says, tells or writes down.
 */

export interface Expected {
  outcome: 'refused' | 'failed'
  code: string
  /** Default: untouched. */
  target_state?: TargetState
  /** The export, and where tables are replaced the safety backup, had to happen first. Default: nothing is stored. */
  storesObjects?: boolean
  /** Secrets and row values of this case, besides those that every world has. */
  canaries?: readonly string[]
  env?: Record<string, string>
}

/** Everything that a database holds: definitions, rows, and whether we have left something in it. */
export async function portrait(database: TestDatabase): Promise<string[]> {
  const url = { name: 'portrait', url: database.url, viaProxy: false }
  await using session = await openSession(url, { purpose: 'portrait', signal: AbortSignal.timeout(60_000) })
  const tables = await session.query<{ name: string; rows: string }>(
    `select c.oid::regclass::text as name,
       query_to_xml('select md5(string_agg(t::text, e''\\n'' order by t::text)) from only ' || c.oid::regclass || ' t', true, true, '')::text as rows
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and n.nspname !~ '^pg_|^information_schema$' order by 1`,
  )
  const ours = await session.query(`select nspname from pg_namespace where nspname like 'multiboard_sync%'`)
  return [
    ...(await readFingerprintLines(session)),
    ...tables.map(({ name, rows }) => `${name} ${rows}`),
    ...ours.map(() => 'multiboard_sync'),
  ]
}

/** Runs the job, and holds what came of it against what must be true of each that is not done. */
export async function expectRefusal(
  world: World,
  params: Record<string, unknown>,
  expected: Expected,
): Promise<Omit<JobResult, 'plan'>> {
  const before = await surroundings(world)
  const events: string[] = []
  const log = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  let result: Omit<JobResult, 'plan'>
  let logged: string
  try {
    result = await runJobHere(world, params, {
      onEvent: (type, data) => events.push(JSON.stringify([type, data])),
      ...(expected.env ? { env: expected.env } : {}),
    })
    logged = log.mock.calls.map(([text]) => String(text)).join('')
  } finally {
    log.mockRestore()
  }
  const { outcome, code, target_state } = result
  expect({ outcome, code, target_state }, JSON.stringify(result)).toEqual({
    outcome: expected.outcome,
    code: expected.code,
    target_state: expected.target_state ?? 'untouched',
  })
  expectSentence(result.message)
  expect(result.hint).toMatch(/^\S.{10,}/)

  const after = await surroundings(world)
  expect(after.source, 'the source is as it was').toEqual(before.source)
  expect(after.target, 'the target is as it was').toEqual(before.target)
  if (expected.storesObjects !== true) expect(after.keys, 'no object was stored').toEqual(before.keys)
  expect(await world.store.openUploads(world.bucket), 'no upload is open').toEqual([])

  const told = [JSON.stringify(result), ...events, logged, await stateFiles(world)].join('\n')
  expectNoSecrets(told, world, expected)
  return result
}

async function surroundings(world: World) {
  const [source, target, keys] = await Promise.all([
    portrait(world.source),
    portrait(world.target),
    world.store.keys(world.bucket),
  ])
  return { source, target, keys }
}

/** One clear sentence: begins and ends as one, and is not a wall of text. */
export function expectSentence(text: unknown): void {
  expect(text).toMatch(/^["A-Z\d/][^\n]*\.$/)
  expect(String(text).length).toBeLessThan(500)
  expect(text).not.toMatch(/undefined|\[object|\bat \S+:\d+/)
}

/** Passwords, URLs and the bucket's secret; and this case's own. */
export function expectNoSecrets(text: string, world: World, { canaries = [], env = {} }: Partial<Expected> = {}): void {
  const all = { ...world.env, ...env }
  const urls = Object.entries(all).flatMap(([name, value]) => (name.endsWith('_DATABASE_URL') ? [value] : []))
  const passwords = urls.map((url) => URL.parse(url)?.password ?? '').filter((password) => password !== '')
  const secrets = [...urls, ...passwords, all['S3_SECRET_ACCESS_KEY'] ?? '', ...canaries].filter((one) => one !== '')
  for (const secret of secrets) expect(text.includes(secret), `${secret} must not be told`).toBe(false)
  // The form of a URL may be told, by its usual example.
  expect(text.replaceAll('user:password@host', '')).not.toMatch(/postgres(ql)?:\/\/[^\s*]*:[^\s*]*@/)
}

/** Every file of the state folder, journals and outboxes, as one text. */
async function stateFiles(world: World): Promise<string> {
  const dir = world.env['AGENT_STATE_DIR'] ?? ''
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => entry.isFile())
  return (await Promise.all(files.map(async (file) => await readFile(join(file.parentPath, file.name), 'utf8')))).join(
    '\n',
  )
}
