import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeSmallTables } from '../../scripts/small-tables/make-small-tables.ts'
import { readTables } from '../src/postgres/catalog.ts'
import { prepareDependencyPrint } from '../src/postgres/dependency-print.ts'
import { prepareFingerprint } from '../src/postgres/fingerprint.ts'
import { prepareLeakSuspicion } from '../src/postgres/leak-check.ts'
import type { Target } from '../src/postgres/open-target.ts'
import type { PreparedRead } from '../src/postgres/query-all.ts'
import type { Session } from '../src/postgres/session.ts'
import { readSwapSet } from '../src/postgres/swap-set/read-swap-set.ts'
import { schemasOf, type SwapSet } from '../src/postgres/swap-set/swap-set.ts'
import { asideOf, dropAside } from '../src/restore/stage/aside.ts'
import { makeStage } from '../src/restore/stage/make-stage.ts'
import { open, setOf, telling } from './stage/try-stage.ts'

/*
 * What thousands of tables cost must grow with their number, and not with its square. Counted, not timed: messages, rows
 * of the catalogue that are read, and rows that pass the nodes of a plan.
 */

const [FEW, MANY] = [30, 120]
/** Four times the tables: a cost that grows with their square would be sixteen times as high. */
const LINEAR = 6

const databases: TestDatabase[] = []
beforeAll(async () => {
  for (const count of [FEW, MANY]) {
    const database = await createDatabase()
    databases.push(database)
    await makeSmallTables(database.url, count)
  }
})
afterAll(async () => {
  for (const database of databases) await database[Symbol.asyncDispose]()
})

/** Of the database with few tables and of that with many. */
async function inBoth<T>(work: (target: Target) => Promise<T>): Promise<[few: T, many: T]> {
  const answers: T[] = []
  for (const { url } of databases) {
    await using target = await open(url)
    answers.push(await work(target))
  }
  return answers as [T, T]
}

/** The messages that go to the server while it lasts. */
async function messagesOf(session: Session, work: () => Promise<unknown>): Promise<number> {
  const { client } = session
  const send = client.query.bind(client)
  let count = 0
  client.query = ((...args: Parameters<typeof send>) => {
    count += 1
    return send(...args)
  }) as typeof client.query
  try {
    await work()
    return count
  } finally {
    client.query = send
  }
}

test('reading what a swap has to do with takes as many messages for many tables as for few', async () => {
  const [few, many] = await inBoth(async ({ session }) => {
    const oids = (await readTables(session)).filter(({ kind }) => kind === 'r').map(({ oid }) => oid)
    return await messagesOf(session, async () => await readSwapSet(session, oids))
  })
  expect(many).toBe(few)
})

/** Rows of the catalogue that this session has read since the server was last told. */
const READ_SQL = `select coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)::float8 as rows
  from pg_catalog.pg_stat_xact_sys_tables`

/** What a transaction reads however few tables it makes is as much as for so many. */
const FIXED_TABLES = 3

interface Made {
  messages: number
  transactions: number
  /** What each transaction reads of the catalogue, by what it makes. */
  costs: number[]
}

async function make(target: Target, set: SwapSet): Promise<Made> {
  const { session } = target
  const aside = asideOf('stage', 'j4k7q2m9xw1ab', schemasOf(set))
  const { run, events } = telling()
  // As a server does it that has thousands of tables: these here fit on a few pages.
  await session.run('set enable_seqscan = off')
  const read = async (): Promise<number> => (await session.query<{ rows: number }>(READ_SQL))[0]?.rows ?? 0
  const made: Made = { messages: 0, transactions: 0, costs: [] }
  let [begun, tablesDone] = [0, 0]
  const reads: number[] = []
  const watched: Session = {
    ...session,
    run: async (sql) => {
      if (sql === 'commit') reads.push((await read()) - begun)
      await session.run(sql)
      if (sql.startsWith('begin')) begun = await read()
    },
  }
  const reporter = { ...run.reporter }
  reporter.progress = (progress) => {
    const tables = (progress.tablesDone ?? 0) - tablesDone
    tablesDone = progress.tablesDone ?? 0
    made.costs.push((reads.at(-1) ?? 0) / (tables + FIXED_TABLES))
  }
  made.messages = await messagesOf(session, async () => {
    await makeStage({ ...target, session: watched }, set, aside, { ...run, reporter })
  })
  made.transactions = Number(events.find(({ type }) => type === 'stage.made')?.data['transactions'])
  await dropAside(session, aside)
  return made
}

test('a transaction of the stage costs what it makes, however many twins stand already and tables there are', async () => {
  const [few, many] = await inBoth(async (target) => await make(target, await setOf(target.session)))
  // Two of them are this test's own.
  const each = (many.messages - few.messages) / (many.transactions - few.transactions)
  expect(each).toBeLessThanOrEqual(15)
  const some = Math.ceil(many.costs.length / 4)
  const [first, last] = [mean(many.costs.slice(0, some)), mean(many.costs.slice(-some))]
  expect(last).toBeLessThan(1.5 * first)
})

function mean(numbers: number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0) / numbers.length
}

interface Node {
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Join Filter'?: number
  Plans?: Node[]
}

/** Rows that pass the nodes of the plan, those that are thrown away among them. */
async function rowsOf(session: Session, read: PreparedRead<unknown>): Promise<number> {
  for (const sql of read.statements.slice(0, -1)) await session.run(sql)
  const [row] = await session.query<{ 'QUERY PLAN': { Plan: Node }[] }>(
    `explain (analyze, timing off, format json) ${read.statements.at(-1)}`,
  )
  const count = (node: Node): number => {
    const rows =
      node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Join Filter'] ?? 0)
    return rows * node['Actual Loops'] + (node.Plans ?? []).reduce((sum, below) => sum + count(below), 0)
  }
  const plan = row?.['QUERY PLAN'][0]?.Plan
  if (plan === undefined) throw new Error('EXPLAIN answers a plan')
  return count(plan)
}

test.each([
  [
    'fingerprint of the tables',
    async (session: Session, relations: SwapSet['members']) =>
      await prepareFingerprint(session, { keys: 'none', within: { schemas: ['many'], relations } }),
  ],
  [
    'fingerprint of their schema',
    async (session: Session) => await prepareFingerprint(session, { keys: 'none', within: { schemas: ['many'] } }),
  ],
  ['dependency print', prepareDependencyPrint],
  ['suspicion of leaks', prepareLeakSuspicion],
])('the %s is read with work that grows with the number of tables', async (_, prepare) => {
  const [few, many] = await inBoth(async ({ session }) => {
    const { members } = await setOf(session)
    return await rowsOf(session, await prepare(session, members))
  })
  expect(many).toBeLessThan(LINEAR * few)
})
