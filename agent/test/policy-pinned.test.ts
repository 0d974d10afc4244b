import { newJobId } from '@multiboard-sync/shared/job'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findingText, runDoctor, type Finding } from '../src/cli/doctor.ts'
import { readEnv } from '../src/env.ts'
import { openContext } from '../src/open-context.ts'
import { expectRefusal, portrait } from './road/refusal.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/* What a pinned database keeps from happening: T7, a URL that was pointed elsewhere. */

const SQL = `
create table public.part (id int primary key, name text not null);
insert into public.part select n, 'part-' || n from generate_series(1, 100) n;`
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }

let world: World
/** A database that the policy does not know. */
let stranger: TestDatabase

beforeAll(async () => {
  world = await openWorld({ source: { sql: SQL }, target: { sql: SQL } })
  stranger = await createDatabase({ sql: SQL })
})
afterAll(async () => {
  await stranger[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

interface Pins {
  production?: string
  staging?: string
}

async function writePolicy({ pins = {}, line = '' }: { pins?: Pins; line?: string } = {}): Promise<void> {
  await world.writePolicy(`
databases:
  production: { role: source, protected: true${pins.production ?? ''} }
  staging: { role: both${pins.staging ?? ''} }
routes:
  - { from: production, to: staging${line} }
`)
}

/** Of a database, as a policy pins it. */
async function pinOf(database: TestDatabase): Promise<string> {
  const { rows } = await (
    await database.client()
  ).query<{ server: string; oid: number }>(
    `select system_identifier::text as server, (select oid::int from pg_database where datname = current_database()) as oid
     from pg_control_system()`,
  )
  return `, system_identifier: '${rows[0]?.server}', database_oid: ${rows[0]?.oid}`
}

describe('T7: a URL that was pointed elsewhere', () => {
  beforeEach(async () => await writePolicy())

  const everyJob = async (): Promise<Record<string, unknown>[]> => {
    const { archive } = mustSucceed(await runJobHere(world, { kind: 'export', source: 'production' }))
    return [
      SYNC,
      { kind: 'restore', archive: archive?.id, target: 'staging' },
      { kind: 'undo', target: 'staging', job: newJobId() },
    ]
  }

  test("from staging's to production's is refused before any write, without pins and with them", async () => {
    const env = { STAGING_DATABASE_URL: world.source.url }
    const [sync = {}, restore = {}] = await everyJob()
    const same = { outcome: 'refused', code: 'same-database', env } as const
    for (const params of [sync, restore]) await expectRefusal(world, params, same)
    await writePolicy({ pins: { staging: await pinOf(world.target) } })
    await expectRefusal(world, sync, { outcome: 'refused', code: 'database-mismatch', env })
  })

  test("to another database is refused where the name's own is pinned, and the hint has the lines to paste", async () => {
    const jobs = await everyJob()
    const before = await portrait(stranger)
    const env = { STAGING_DATABASE_URL: stranger.url }
    const pins = { production: await pinOf(world.source), staging: await pinOf(world.target) }
    await writePolicy({ pins })
    const expected = { outcome: 'refused', code: 'database-mismatch' } as const
    for (const params of jobs) {
      const { hint } = await expectRefusal(world, params, { ...expected, env })
      expect(hint).toContain((await pinOf(stranger)).slice(2))
    }
    const source = { PRODUCTION_DATABASE_URL: stranger.url }
    for (const params of [SYNC, { kind: 'export', source: 'production' }]) {
      await expectRefusal(world, params, { ...expected, env: source })
    }
    expect(await portrait(stranger), 'nothing was written there').toEqual(before)
    await writePolicy({ pins: { ...pins, staging: await pinOf(stranger) } })
    mustSucceed(await runJobHere(world, { ...SYNC, dry_run: true }, { env, dryRun: true }))
  })

  test('to a database that is pinned under another name is refused, whatever is known of the name itself', async () => {
    const undo = { kind: 'undo', target: 'staging', job: newJobId() }
    await writePolicy({ pins: { production: await pinOf(world.source) } })
    const env = { STAGING_DATABASE_URL: world.source.url }
    const { message } = await expectRefusal(world, undo, { outcome: 'refused', code: 'database-mismatch', env })
    expect(message).toContain('"production"')
  })

  test('is told by doctor, which prints for each database what to pin', async () => {
    await writePolicy({ pins: { staging: await pinOf(stranger) } })
    await using opened = await openContext(readEnv(world.env))
    const findings: Finding[] = []
    const signal = AbortSignal.timeout(60_000)
    expect(await runDoctor(opened, undefined, signal, (finding) => findings.push(finding))).toBe(false)
    const stdout = findings.map(findingText).join('\n')
    const lines = (await pinOf(world.source)).slice(2).split(', ')
    for (const line of lines) expect(stdout).toMatch(new RegExp(`^ +${line}$`, 'm'))
    expect(stdout).toMatch(/FAIL {2}staging as source: database-mismatch/)
    expect(stdout).toContain((await pinOf(world.target)).slice(2))
  })
})
