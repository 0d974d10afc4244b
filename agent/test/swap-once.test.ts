import { SyncError } from '@multiboard-sync/shared/sync-error'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import { describe, expect, test } from 'vitest'
import { withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { openLanes } from '../src/lanes/lanes.ts'
import { createTrace } from '../src/lanes/trace.ts'
import { openTarget } from '../src/postgres/open-target.ts'
import { createReporter } from '../src/report/reporter.ts'
import { onceRun, type StageWork } from '../src/restore/stage/once.ts'
import { pourTables } from '../src/restore/stage/pour-tables.ts'
import { stageDoor } from '../src/restore/stage/stage-door.ts'
import { openGate } from './road/gate.ts'
import { handFeed, numbers, type Before } from './stage/hand-feed.ts'

/* What goes into a stage is there once, whatever breaks and when. */

const STEP_MS = 30_000
/** As it is told: no small table. */
const BIG_BYTES = 1_000_000
/** The whole message: settings speak of commits, too. */
const COMMIT = (bytes: string): boolean => bytes.includes('\u000bcommit\0')

/** A table `t`, and lanes that reach it through a gate; what holds the target goes past the gate. */
async function openPlace(count = 1) {
  await using made = new AsyncDisposableStack()
  const database = made.use(await createDatabase({ sql: 'create table public.t (id int)' }))
  const gate = made.use(await openGate(new URL(database.url)))
  const signal = AbortSignal.timeout(55_000)
  const target = made.use(await openTarget({ name: 'staging', url: database.url, viaProxy: false }, signal))
  const lanes = made.use(openLanes({ count, signal, trace: createTrace() }))
  const told: string[] = []
  const reporter = createReporter([
    { phase: () => undefined, progress: () => undefined, event: ({ type }) => void told.push(type) },
  ])
  const stage: StageWork = {
    door: stageDoor({ name: 'staging', url: gate.url(database.url), viaProxy: false }, count),
    stand: async () => await target.stand(signal),
    reporter,
    signal: lanes.signal,
  }
  const owned = made.move()
  const client = await database.client()
  const number = async (sql: string): Promise<number> =>
    Number((await client.query<{ n: string }>(`select (${sql}) as n`)).rows[0]?.n)
  return {
    database,
    gate,
    target,
    lanes,
    stage,
    told,
    number,
    pour: async (pieces: string[], before?: Before, bytes?: number) => {
      const asked = { name: 't', columns: ['id'], pieces, ...(bytes === undefined ? {} : { bytes }) }
      const poured = pourTables(handFeed([asked], before), {
        lanes,
        stage,
        place: (table) => table,
        urgencyOf: () => 1,
        onLoaded: async () => undefined,
      })
      const [table] = await withDeadline('the rows', STEP_MS, poured.finished)
      return table?.rows
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

describe('a piece is in its table exactly once', () => {
  test.each([
    ['before its COMMIT is sent', 'before'],
    ['after its COMMIT, before the answer', 'after'],
  ] as const)('when the connection is cut %s', async (_, where) => {
    await using place = await openPlace()
    const caught = place.gate.stopAt(COMMIT, where)
    const pouring = place.pour([numbers(1, 500)])
    const held = await withDeadline('the COMMIT', STEP_MS, caught)
    if (where === 'after') await withDeadline('its answer', STEP_MS, held.answered)
    held.cut()
    expect(await pouring).toBe(500)
    expect(await place.number('select count(*) from public.t')).toBe(500)
    expect(await place.number('select count(distinct id) from public.t')).toBe(500)
    expect(place.told.filter((type) => type === 'stage.retried')).toHaveLength(1)
  })

  test('when the connection is cut between COMMIT and an answer that is still to come', async () => {
    await using place = await openPlace()
    const caught = place.gate.stopAt(COMMIT, 'after')
    const pouring = place.pour([numbers(1, 500)])
    const held = await withDeadline('the COMMIT', STEP_MS, caught)
    held.cut()
    expect(await pouring).toBe(500)
    expect(await place.number('select count(*) from public.t')).toBe(500)
  })

  test('when the connection is cut in the middle of its rows, and every connection with it', async () => {
    await using place = await openPlace(2)
    // The message in which rows come: COPY's data.
    const caught = place.gate.stopAt((bytes) => bytes.includes('777\n'), 'before')
    const pouring = place.pour([numbers(1, 500), numbers(501, 1000), numbers(1001, 1500)])
    await withDeadline('the rows', STEP_MS, caught)
    place.gate.cutAll()
    expect(await pouring).toBe(1500)
    expect(await place.number('select count(*) from public.t')).toBe(1500)
    expect(await place.number('select count(distinct id) from public.t')).toBe(1500)
  })

  test('when its source or its store breaks in the middle, twice', async () => {
    await using place = await openPlace()
    const rows = await place.pour([numbers(1, 500), numbers(501, 600)], (piece, attempt) => {
      if (piece.n > 0 || attempt > 2) return
      throw new SyncError('storage-unreachable', 'The store does not answer.', { retryable: true })
    })
    expect(rows).toBe(600)
    expect(await place.number('select count(*) from public.t')).toBe(600)
    expect(place.told.filter((type) => type === 'stage.retried')).toHaveLength(2)
  })

  test('when the backend is ended by the server, with all that the agent has there', async () => {
    await using place = await openPlace()
    const rows = await place.pour([numbers(1, 500)], async (_, attempt) => {
      if (attempt > 1) return
      await place.number(`select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and application_name like 'multiboard-sync%'`)
    })
    expect(rows).toBe(500)
    expect(await place.number('select count(*) from public.t')).toBe(500)
  })
})

test.each(['before', 'after'] as const)(
  'a table that comes in one piece is there once, and an older snapshot sees it, when the connection is cut %s its COMMIT',
  async (where) => {
    await using place = await openPlace()
    const reader = await place.database.client()
    await reader.query('begin isolation level repeatable read')
    await reader.query('select 1')
    const caught = place.gate.stopAt(COMMIT, where)
    const pouring = place.pour([numbers(1, 500)], undefined, BIG_BYTES)
    const held = await withDeadline('the COMMIT', STEP_MS, caught)
    if (where === 'after') await withDeadline('its answer', STEP_MS, held.answered)
    held.cut()
    expect(await pouring).toBe(500)
    expect(await place.number('select count(*) from public.t')).toBe(500)
    const seen = await reader.query<{ n: string }>('select count(*) as n from public.t')
    expect(Number(seen.rows[0]?.n)).toBe(500)
  },
)

test('what is no passing trouble ends at once, with nothing of the piece left', async () => {
  await using place = await openPlace()
  await expect(place.pour(['1\nthree\n'])).rejects.toMatchObject({ code: 'load-failed' })
  expect(await place.number('select count(*) from public.t')).toBe(0)
  expect(place.told).not.toContain('stage.retried')
})

test('a source that stays away ends the job with its own error, and no row', async () => {
  await using place = await openPlace()
  const away = (): never => {
    throw new SyncError('connection-lost', 'The source is away.', { retryable: true })
  }
  await expect(place.pour([numbers(1, 5)], away)).rejects.toMatchObject({ code: 'connection-lost' })
  expect(await place.number('select count(*) from public.t')).toBe(0)
})

const SENT_WITH_COMMIT = (bytes: string): boolean => bytes.endsWith(';\ncommit\0')
const STATEMENTS = ['create index i on public.t (id)', 'alter table public.t add constraint c check (id > 0)']

describe('an index and a constraint, sent with their COMMIT, are made exactly once', () => {
  test.each([
    ['before they are sent', 'before'],
    ['when they are made, before the answer', 'after'],
    ['while the server is at them', 'between'],
  ] as const)('when the connection is cut %s', async (_, where) => {
    await using place = await openPlace()
    const { gate, lanes, stage } = place
    const caught = gate.stopAt(SENT_WITH_COMMIT, where === 'before' ? 'before' : 'after')
    const making = lanes.run({ kind: 'index', name: 'i', urgency: 1 }, async (lane) => {
      await onceRun(lane, stage, 'i', STATEMENTS)
    })
    const held = await withDeadline('the COMMIT', STEP_MS, caught)
    if (where === 'after') await withDeadline('its answer', STEP_MS, held.answered)
    held.cut()
    await withDeadline('the index', STEP_MS, making)
    expect(await place.number(`select count(*) from pg_class where relname = 'i'`)).toBe(1)
    expect(await place.number(`select count(*) from pg_constraint where conname = 'c'`)).toBe(1)
    expect(place.told.filter((type) => type === 'stage.retried')).toHaveLength(1)
  })

  test('or not at all, when one of them cannot be made', async () => {
    await using place = await openPlace()
    const { lanes, stage } = place
    const making = lanes.run({ kind: 'index', name: 'i', urgency: 1 }, async (lane) => {
      await onceRun(lane, stage, 'i', [...STATEMENTS, 'alter table public.t add constraint c check (id > 0)'])
    })
    await expect(making).rejects.toMatchObject({ code: 'query-failed' })
    expect(await place.number(`select count(*) from pg_class where relname = 'i'`)).toBe(0)
  })
})

test('sessions that build have more memory for it than the server gives everybody, and only they', async () => {
  await using place = await openPlace()
  const { lanes, stage, target } = place
  const asked = `select pg_size_bytes(current_setting('maintenance_work_mem'))::float8 as bytes`
  const own = await lanes.run({ kind: 'index', name: 'i', urgency: 1 }, async (lane) => {
    const [row] = await (await lane.session(stage.door)).query<{ bytes: number }>(asked)
    return row?.bytes ?? 0
  })
  const [others] = await target.session.query<{ bytes: number }>(asked)
  const shared = await place.number(`select pg_size_bytes(current_setting('shared_buffers'))`)
  expect(own).toBe(Math.max(others?.bytes ?? 0, Math.min(shared, 2 ** 30)))
})
