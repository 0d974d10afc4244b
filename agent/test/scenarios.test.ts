import { join } from 'node:path'
import { formatTableName } from '@multiboard-sync/shared/table-pattern'
import { createDatabase } from '@multiboard-sync/shared/testing/test-database'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { readCopied } from './road/compare-databases.ts'
import { mustSucceed, runJobHere } from './road/values-job.ts'
import { openWorld, type World } from './road/world.ts'
import {
  dumpBundled,
  findPgDump,
  look,
  lookAtRows,
  readColumns,
  readPrevious,
  type Dump,
  type Look,
} from './scenarios-look.ts'
import { makeDatabases, readScenarios, type Expect, type Scenario } from './scenarios.ts'

/** Five at a time, on a machine that may be busy: alone a case takes one to three seconds. */
const TIMEOUT_MS = 120_000

const ROLES = `
create role scenario_owner nologin;
create role scenario_reader nologin;
create role scenario_other nologin;
create role scenario_agent login password 'scenario' in role scenario_owner;
create role scenario_stranger login password 'scenario'`

const { major } = inject('postgres')
let world: World
let pgDump: Dump | undefined

beforeAll(async () => {
  world = await openWorld()
  await using roles = await createDatabase()
  await (await roles.client()).query(ROLES)
  pgDump = await findPgDump(major)
  if (pgDump === undefined)
    process.stdout.write(
      `No pg_dump for ${major} is at hand: its texts are compared in a few cases, by the one that the agent has.\n`,
    )
})
afterAll(async () => await world[Symbol.asyncDispose]())

const scenarios = readScenarios()

describe.concurrent('a sync, by its folder,', () => {
  it.for(scenarios.map((one) => [`${one.expect.name} (${one.folder})`, one] as const))(
    '%s',
    { timeout: TIMEOUT_MS },
    async ([, one], { skip }) => {
      const { min = 0, max = Infinity } = one.expect
      skip(major < min, `needs PostgreSQL ${min}`)
      skip(major > max, `is about PostgreSQL up to ${max}`)
      await play(one)
    },
  )
})

type Result = Awaited<ReturnType<typeof runJobHere>>

interface Play {
  expected: Expect
  url: string
  env: Record<string, string>
  /** Looks at the target. */
  see: () => Promise<Look>
  before: Look
  source: Awaited<ReturnType<typeof lookAtRows>>
  /** The target's definitions without owners and grants, which an archive does not carry; for `create`. */
  own: string[]
  sourceUrl: string
}

async function play({ folder, expect: expected }: Scenario): Promise<void> {
  await using made = new AsyncDisposableStack()
  const { source, target } = await makeDatabases(made, folder)
  const dump = pgDump ?? (expected.dump?.includes('bundled') ? dumpBundled : undefined)
  const see = async (): Promise<Look> => await look(target.url, dump)
  const env = {
    PRODUCTION_DATABASE_URL: source.url,
    STAGING_DATABASE_URL: expected.as === undefined ? target.url : urlOf(target.url, expected.as),
    AGENT_STATE_DIR: join(world.dir, `state-${folder}`),
  }
  const stage: Play = {
    expected,
    url: target.url,
    env,
    sourceUrl: source.url,
    source: await lookAtRows(source.url),
    own: expected.engine === 'create' ? (await readCopied(target.url)).definitions : [],
    see,
    before: await see(),
  }
  const params = {
    kind: 'sync',
    source: 'production',
    target: 'staging',
    engine: expected.ask ?? 'auto',
    ...(expected.table ? { tables: expected.table } : {}),
  }
  const result = await runJobHere(world, params, { env })
  if (expected.engine === undefined) await expectUnchanged(stage, result)
  else await expectCopied(stage, result)
}

function urlOf(url: string, user: string): string {
  return Object.assign(new URL(url), { username: user, password: 'scenario' }).href
}

async function expectUnchanged({ expected, url, before, see }: Play, result: Result): Promise<void> {
  const { outcome, code, target_state: state, message = '', details = [] } = result
  const told = [message, ...details].join('\n')
  expect({ outcome, code }, told).toEqual({ outcome: expected.outcome, code: expected.code })
  expect(state).toMatch(outcome === 'refused' ? /^untouched$/ : /^(untouched|rolled_back)$/)
  if (expected.reason) expect(told).toMatch(expected.reason)
  expectSaid(expected, result)
  expect(await see()).toEqual(before)
  await expectAnswers(expected, url)
}

async function expectCopied(stage: Play, result: Result): Promise<void> {
  const { expected, url, before, see } = stage
  const { receipt, plan } = mustSucceed(result)
  expect(`${result.engine}: ${plan?.reason}`).toMatch(new RegExp(`^${expected.engine}: `))
  if (expected.reason) expect(plan?.reason).toMatch(expected.reason)
  expectSaid(expected, result)
  const copied = new Set(plan?.tables.map(formatTableName))
  const after = await see()
  if (expected.engine !== 'create') expectSameDefinitions(expected, after, before)
  else {
    const [made, wanted] = await Promise.all(
      [url, stage.sourceUrl].map(async (one) => (await readCopied(one)).definitions),
    )
    expect(new Set(made)).toEqual(new Set([...(wanted ?? []), ...stage.own]))
  }
  await expectRows(stage, after, copied)
  expectSequences(stage, after, copied)
  expect(
    after.asides.filter((name) => !name.startsWith('multiboard_sync_prev_')),
    'nothing is left beside',
  ).toEqual([])

  const previous = await readPrevious(url, receipt?.job ?? '')
  const wanted = result.engine === 'swap' ? [...copied] : []
  const oldRows = (name: string) => ({ rows: before.rows[name]?.rows, text: before.rows[name]?.text })
  expect(previous, 'the previous tables hold the old rows').toMatchObject(
    Object.fromEntries(wanted.map((name) => [name, oldRows(name)])),
  )
  await expectAnswers(expected, url)
  expect(await readPrevious(url, receipt?.job ?? ''), 'nothing reaches the previous tables').toEqual(previous)
  if (result.engine === 'swap' && expected.undo !== undefined) await expectUndo(stage, receipt?.job ?? '', copied)
}

function expectSameDefinitions(expected: Expect, after: Look, before: Look): void {
  expect(after.definitions, 'the definitions').toEqual(before.definitions)
  expect(after.dependencies, 'who depends on whom').toEqual(before.dependencies)
  const text = (one: Look): string | undefined =>
    expected.dump?.includes('sorted') ? one.dump?.split('\n').toSorted().join('\n') : one.dump
  expect(text(after), "pg_dump's text").toBe(text(before))
}

/** Copied tables are the source's, others as before; materialised views say what their queries say. */
async function expectRows({ before, source, sourceUrl, url }: Play, after: Look, copied: Set<string>): Promise<void> {
  const wanted: Look['rows'] = {}
  const found: Look['rows'] = {}
  for (const [name, rows] of Object.entries(after.rows)) {
    const matview = after.matviews[name]
    found[name] = rows
    if (matview?.reads.some((table) => copied.has(table))) wanted[name] = { ...rows, text: matview.fresh }
    else if (!copied.has(name)) wanted[name] = before.rows[name] ?? source.rows[name] ?? rows
    else wanted[name] = source.rows[name] ?? rows
    if (!copied.has(name) || source.rows[name]?.columns === rows.columns) continue
    // The target has more columns, or in another order: compared by those that were copied.
    const table = source.tables.find((one) => formatTableName(one) === name)
    if (!table) throw new Error(`${name} was copied from nowhere`)
    const [there, here] = [sourceUrl, url].map(async (side) => await readColumns(side, table, table.columns))
    expect(await here, name).toEqual(await there)
    delete wanted[name]
    delete found[name]
  }
  expect(found).toEqual(wanted)
  if (copied.size > 0) expect(Object.keys(after.rows)).toEqual(expect.arrayContaining([...copied]))
}

/** Those of copied tables travel; one that stands for itself is never set back. */
function expectSequences({ expected, before, source }: Play, after: Look, copied: Set<string>): void {
  for (const [name, state] of Object.entries(after.sequences)) {
    const [there, old] = [source.sequences[name], before.sequences[name]]
    if (!there) continue
    const further = old && Number(old.last) > Number(there.last) ? old : there
    const wanted = expected.ahead?.includes(name) ? further : there
    if (state.owner !== null && copied.has(state.owner)) expect([name, state]).toEqual([name, wanted])
    else if (state.owner !== null) expect([name, state]).toEqual([name, old])
    else {
      expect([old, there], name).toContainEqual(state)
      if (!expected.table) expect(Number(state.last), name).toBeGreaterThanOrEqual(Number(there.last))
    }
  }
}

function expectSaid({ says = [] }: Expect, { plan, message = '', hint = '', details = [] }: Result): void {
  const said = [plan?.reason ?? '', ...(plan?.notices ?? []), message, hint, ...details].join('\n')
  for (const pattern of says) expect(said).toMatch(pattern)
}

async function expectAnswers({ later = [] }: Expect, url: string): Promise<void> {
  if (later.length === 0) return
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const line of later) {
      const [, sql = line, answer] = /^(.*) => (.*)$/.exec(line) ?? []
      const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' })
      if (answer !== undefined) expect(rows.map((row) => row.join(' ')).join(', '), sql).toBe(answer)
    }
  } finally {
    await client.end()
  }
}

async function expectUndo({ env, see, before, expected }: Play, job: string, copied: Set<string>): Promise<void> {
  const swapped = await see()
  const back = await runJobHere(world, { kind: 'undo', target: 'staging', job }, { env })
  if (expected.undo !== 'equal') {
    expect(back).toMatchObject({ code: expected.undo })
    expect(await see()).toEqual(swapped)
    return
  }
  const undone = mustSucceed(back)
  // What happened outside since then is not undone.
  const outside = Object.entries(swapped.rows).filter(([name]) => !copied.has(name) && !(name in swapped.matviews))
  expectSame(expected, await see(), { ...before, rows: { ...before.rows, ...Object.fromEntries(outside) } })
  mustSucceed(await runJobHere(world, { kind: 'undo', target: 'staging', job: undone.receipt?.job }, { env }))
  expectSame(expected, await see(), swapped)
}

/** The same definitions, rows and owned sequences; those that tables outside count with are not set back. */
function expectSame(expected: Expect, now: Look, then: Look): void {
  expectSameDefinitions(expected, now, then)
  expect(now.rows).toEqual(then.rows)
  const owned = ({ sequences }: Look): object =>
    Object.fromEntries(
      Object.entries(sequences).filter(([name, { owner }]) => owner !== null && !expected.ahead?.includes(name)),
    )
  expect(owned(now)).toEqual(owned(then))
  for (const name of expected.ahead ?? []) {
    expect(Number(now.sequences[name]?.last), name).toBeGreaterThanOrEqual(Number(then.sequences[name]?.last))
  }
}
