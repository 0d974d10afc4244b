import { newJobId } from '@multiboard-sync/shared/job'
import type { TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openJournal } from '../src/journal/journal.ts'
import { openControl, type Control } from './road/control.ts'
import { startDaemon } from './road/daemon.ts'
import { expectRefusal, portrait } from './road/refusal.ts'
import { mustSucceed, runJobHere, syncHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

/* What the policy keeps from happening to real databases: by stolen keys, by emptied sources, by odd names, too often. */

const SQL = `
create table public.part (id int primary key, name text not null);
insert into public.part select n, 'part-' || n from generate_series(1, 100) n;`
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }

let world: World

beforeAll(async () => {
  world = await openWorld({ source: { sql: SQL }, target: { sql: SQL } })
})
afterAll(async () => await world[Symbol.asyncDispose]())

async function writePolicy(line = ''): Promise<void> {
  await world.writePolicy(`
databases:
  production: { role: source, protected: true }
  staging: { role: both }
routes:
  - { from: production, to: staging${line} }
`)
}

describe('T1: a stolen control plane', () => {
  test('that signs an order for a protected target with its real key is refused by the real agent', async () => {
    await writePolicy()
    await using control = await openControl(world)
    await using daemon = await startDaemon({ ...world.env, ...control.env })
    // An honest order first: agent and key are what they are.
    const asked = await control.ask({ kind: 'export', source: 'production' })
    const honest = await control.waitFor(asked.id, 'succeeded')
    const before = [await portrait(world.source), await portrait(world.target)]
    const jobs = [
      { kind: 'sync', source: 'staging', target: 'production', engine: 'truncate' },
      { kind: 'restore', archive: honest.result?.archive?.id, target: 'production', engine: 'auto' },
      { kind: 'undo', target: 'production', job: honest.id },
    ]
    const answers: unknown[] = []
    for (const params of jobs) {
      const id = await forge(control, params)
      const { code, target_state } = await control.waitFor(id, 'refused')
      answers.push([params.kind, code, target_state])
    }
    expect(answers).toEqual([
      ['sync', 'target-protected', 'untouched'],
      ['restore', 'target-protected', 'untouched'],
      ['undo', 'policy-denied', 'untouched'],
    ])
    expect([await portrait(world.source), await portrait(world.target)]).toEqual(before)
    expect(daemon.log()).toContain('target-protected')
  })
})

/** Whoever holds the control plane's database and key asks nobody. */
async function forge(control: Control, params: Record<string, unknown>): Promise<string> {
  const id = newJobId()
  await (
    await control.database.client()
  ).query(
    `insert into multiboard.jobs (id, agent, kind, params, requested_by, exclusive_key, start_before)
     select $1, id, $2, $3, 'nobody', 'target:production', now() + interval '1 hour' from multiboard.agents`,
    [id, params['kind'], JSON.stringify(params)],
  )
  return id
}

/** What a database holds, without what we write down in it of ourselves. */
async function rowsOf(database: TestDatabase): Promise<string[]> {
  return (await portrait(database)).filter((text) => !text.startsWith('multiboard_sync'))
}

describe('T25: a source that was emptied', () => {
  test('stops before the swap: table by table, each partition by itself; what was empty has nothing to lose', async () => {
    const sql = `
create table public.empty (id int primary key);
create table public.event (id int, at date) partition by range (at);
create table public.event_old partition of public.event for values from ('2025-01-01') to ('2026-01-01');
create table public.event_new partition of public.event for values from ('2026-01-01') to ('2027-01-01');
insert into public.event select n, '2025-06-01' from generate_series(1, 10) n;
insert into public.event select n, '2026-06-01' from generate_series(1, 990) n;`
    await using parted = await openWorld({ source: { sql }, target: { sql } })
    await parted.writePolicy(`
databases: { production: { role: source }, staging: { role: target } }
routes: [{ from: production, to: staging, max_row_drop_pct: 30 }]
`)
    const source = await parted.source.client()
    const before = await rowsOf(parted.target)
    const stopped = async (engine: string): Promise<string[] | undefined> => {
      const { outcome, code, target_state, details } = await runJobHere(parted, { ...SYNC, engine })
      expect([outcome, code, target_state]).toEqual(['refused', 'row-drop', 'untouched'])
      expect(await rowsOf(parted.target), 'the target is as it was').toEqual(before)
      return details?.toSorted()
    }
    // One in a hundred of all events, and a whole partition.
    await source.query('truncate public.event_old')
    expect(await stopped('swap')).toEqual(['public.event_old: 10 rows now, 0 in the archive'])
    await source.query('truncate public.event')
    const both = ['public.event_new: 990 rows now, 0 in the archive', 'public.event_old: 10 rows now, 0 in the archive']
    for (const engine of ['swap', 'truncate']) expect(await stopped(engine)).toEqual(both)
    await source.query(`insert into public.event select n, '2026-06-01' from generate_series(1, 700) n`)
    await source.query(`insert into public.event select n, '2025-06-01' from generate_series(1, 7) n`)
    expect((await syncHere(parted)).target_state, 'seven of ten are enough').toBe('changed')
  })
})

describe('a start', () => {
  const refused = { outcome: 'refused', code: 'too-many-jobs' } as const
  const stateDir = (): string => world.env['AGENT_STATE_DIR'] ?? ''

  const outcomeOf = async (params: Record<string, unknown>): Promise<unknown> => {
    const { outcome, code } = await runJobHere(world, params)
    return { outcome, code }
  }
  let first: Awaited<ReturnType<typeof syncHere>>

  test('counts whoever asks, also after a restart', async () => {
    await writePolicy()
    first = await syncHere(world, { engine: 'swap' })
    await writePolicy(', max_jobs_per_day: 1')
    // Each job here reads the disk anew, as by a process that has just started.
    const { hint } = await expectRefusal(world, SYNC, refused)
    expect(hint).toMatch(/^Ask again at \d{4}-/)
    expect(await outcomeOf({ kind: 'restore', archive: first.archive?.id, target: 'staging' })).toEqual(refused)
    mustSucceed(await runJobHere(world, SYNC, { dryRun: true }))
    const command = await world.agent(['sync', '--from', 'production', '--to', 'staging', '--json'])
    expect(command.json, 'the command line as well').toMatchObject(refused)
  })

  test('is not what mends, and that is never held back', async () => {
    const undone = { kind: 'undo', target: 'staging', job: first.receipt?.job }
    expect(mustSucceed(await runJobHere(world, undone)).target_state).toBe('changed')
    const putBack = { kind: 'restore', archive: first.safety_backup?.id, target: 'staging', engine: 'truncate' }
    expect(mustSucceed(await runJobHere(world, putBack)).target_state).toBe('changed')
    expect(await outcomeOf(SYNC)).toEqual(refused)
    await writePolicy(', max_jobs_per_day: 2')
    mustSucceed(await runJobHere(world, { ...SYNC, engine: 'truncate' }))
    expect(await outcomeOf(SYNC)).toEqual(refused)
  })

  test('that is a day old does not count, and one whose job crashed does', async () => {
    const at =
      (hoursAgo: number): (() => Date) =>
      () =>
        new Date(Date.now() - hoursAgo * 3_600_000)
    const begin = async (hoursAgo: number): Promise<void> => {
      await using journal = await openJournal(stateDir(), newJobId(), at(hoursAgo))
      await journal.record('accepted', { params: { ...SYNC, kind: 'sync', engine: 'auto' }, epoch: 1, fence: 0 })
      await journal.record('begun', { target: 'staging' })
    }
    await writePolicy(', min_interval: 1d')
    const env = { AGENT_STATE_DIR: `${stateDir()}-aged` }
    const before = world.env
    world.env = { ...before, ...env }
    try {
      await begin(25)
      await syncHere(world)
      world.env = { ...before, AGENT_STATE_DIR: `${stateDir()}-crashed` }
      await begin(2)
      const { message } = await expectRefusal(world, SYNC, refused)
      expect(message).toContain('1d')
    } finally {
      world.env = before
    }
  })
})

describe('T8: names in the catalogue', () => {
  const names = [
    `x"; drop table public.part; --`,
    `'; select 1/0; --`,
    '../../etc',
    'Ünïcode-🙂',
    'x'.repeat(63),
    '$1 %s \\',
  ]

  test('that are SQL, paths or long are copied as the names they are, and a pattern chooses no other', async () => {
    const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`
    const sql = names.map(
      (name) => `create table public.${quoted(name)} (${quoted(name)} int primary key);
insert into public.${quoted(name)} values (7);`,
    )
    await using hostile = await openWorld({ source: { sql: [SQL, ...sql].join('\n') } })
    const asked = names.map((name) => `public.${quoted(name)}`)
    await syncHere(hostile, { tables: asked })
    const target = await hostile.target.client()
    const { rows } = await target.query<{ name: string }>(
      `select relname::text as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`,
    )
    expect(rows.map(({ name }) => name).toSorted()).toEqual(names.toSorted())
    for (const name of names) {
      const { rows: seven } = await target.query(`select ${quoted(name)} as seven from public.${quoted(name)}`)
      expect(seven).toEqual([{ seven: 7 }])
    }
    expect((await syncHere(hostile, { tables: ['public.*/*'] })).tables, 'those with a slash').toBe(2)
    const { rows: kept } = await (await hostile.source.client()).query('select count(*)::int as n from public.part')
    expect(kept).toEqual([{ n: 100 }])
  })
})
