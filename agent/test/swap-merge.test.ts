import { newJobId } from '@multiboard-sync/shared/job'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { createDatabase, templateDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openArchive } from '../src/archive/archive-reader.ts'
import { readEnv } from '../src/env.ts'
import { openContext } from '../src/open-context.ts'
import { originOfArchive } from '../src/plan/origin.ts'

import { readFingerprint } from '../src/postgres/fingerprint.ts'

import { openTarget } from '../src/postgres/open-target.ts'

import { unlimitedLease } from '../src/report/lease.ts'
import { createReporter } from '../src/report/reporter.ts'
import { restoreInOneTransaction } from '../src/restore/in-one-transaction.ts'
import type { Restored, RestoreRun } from '../src/restore/load.ts'
import { merge } from '../src/restore/merge/merge.ts'
import { readState } from './road/compare-databases.ts'
import { BELONGINGS, SHOP, SHOP_ROWS } from './road/values-belongings.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'

const DEADLINE_MS = 60_000

let world: World
/** The shop's archive. */
let shopArchive: string
let shopTemplate: string

beforeAll(async () => {
  world = await openWorld({ source: { sql: `${SHOP}${SHOP_ROWS}` } })
  shopArchive = await exportOf(world.source)
  shopTemplate = await templateDatabase('a shop with belongings', async (database) => {
    const client = await database.client()
    for (const sql of [SHOP, SHOP_ROWS, BELONGINGS]) await client.query(sql)
    await client.end()
  })
})
afterAll(async () => await world[Symbol.asyncDispose]())

async function exportOf(source: TestDatabase): Promise<string> {
  const env = { PRODUCTION_DATABASE_URL: source.url }
  const result = mustSucceed(await runJobHere(world, { kind: 'export', source: 'production' }, { env }))
  return result.archive?.id ?? ''
}

interface Merged extends Restored {
  events: { type: string; data: Record<string, unknown> }[]
  /** Steps of the journal. */
  steps: string[]
}

interface How {
  engine?: 'merge' | 'truncate'
  /** Tables of the archive, all without it. */
  tables?: string[]
  /** Called in the middle: when the safety backup is due. */
  protect?: () => Promise<void>
  run?: Partial<RestoreRun>
  attempts?: number
  onEvent?: (type: string, data: Record<string, unknown>) => void
}

/** The engine alone, as a job calls it. */
async function bring(target: TestDatabase, archiveId: string, how: How = {}): Promise<Merged> {
  const signal = AbortSignal.timeout(DEADLINE_MS)
  await using opened = await openContext(readEnv({ ...world.env, STAGING_DATABASE_URL: target.url }))
  const archive = await openArchive(opened.context, archiveId, signal)
  const wanted = archive.manifest.tables.filter((table) => how.tables?.includes(formatTableName(table)) ?? true)
  const { schema } = await originOfArchive(archive, wanted)
  await using open = await openTarget(opened.context.databaseUrl('staging'), signal)
  const events: Merged['events'] = []
  const steps: string[] = []
  const reporter = createReporter([
    {
      phase: () => undefined,
      progress: () => undefined,
      event: ({ type, data }) => {
        events.push({ type, data })
        how.onEvent?.(type, data)
      },
    },
  ])
  const engine = how.engine ?? 'merge'
  const load = {
    engine,
    isWhole: how.tables === undefined,
    fingerprint: (await readFingerprint(open.session)).sha256,
    archive,
    tables: wanted,
    left: [],
    schema,
    job: newJobId(),
    epoch: 1,
    fence: undefined,
    protect: async () => {
      await how.protect?.()
      return undefined
    },
    connections: 2,
    lockAttempts: how.attempts ?? 2,
  }
  const run: RestoreRun = {
    changing: () => undefined,
    changed: async () => undefined,
    reporter,
    lease: unlimitedLease,
    journal: { record: async (step) => void steps.push(step), [Symbol.asyncDispose]: async () => undefined },
    signal,
    ...how.run,
  }
  const restored = await (engine === 'merge' ? merge : restoreInOneTransaction)(open, load, run)
  return { ...restored, events, steps }
}

const merged = (result: Merged, table: string) =>
  result.events.find(({ type, data }) => type === 'table.merged' && data['table'] === table)?.data

const STAGES = `select nspname from pg_namespace where nspname like 'multiboard\\_sync\\_stage%'`

async function expectNoStage(target: TestDatabase): Promise<void> {
  const client = await target.client()
  expect((await client.query(STAGES)).rows).toEqual([])
}

const SHOP_TABLES = ['shop.customer', 'shop.Order', 'shop.event_a', 'shop.event_rest']

describe('merge', () => {
  it('leaves a target as truncate does, with all that belongs to it', async () => {
    await using one = await createDatabase({ template: shopTemplate })
    await using other = await createDatabase({ template: shopTemplate })
    const result = await bring(one, shopArchive, { tables: SHOP_TABLES })
    await bring(other, shopArchive, { tables: SHOP_TABLES, engine: 'truncate' })
    expect(await readState(one.url)).toEqual(await readState(other.url))
    expect(result.proof).toHaveLength(4)
    expect(result.receipt).toMatchObject({ engine: 'merge' })
    expect(result.steps).toEqual(['staging', 'staged', 'loaded', 'built', 'proven', 'committing', 'tidied'])
    expect(merged(result, 'shop.customer')).toMatchObject({ inserted: 0, updated: 40, deleted: 0 })
    await expectNoStage(one)
  })
})
