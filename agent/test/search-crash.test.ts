import { expect, test } from 'vitest'
import { readGeneration } from '../src/reindex/generation.ts'
import { findLeftoverGenerations } from '../src/reindex/full/find-leftover-generations.ts'
import type { Journal } from '../src/journal/journal.ts'
import type { PlannedReindex } from '../src/reindex/planned-reindex.ts'
import type { ReindexRun } from '../src/reindex/reindex-run.ts'
import { ALIAS, jobOf, openScene, type Scene } from './search/scene.ts'

/*
 * A full reindex that ends at any request or any line of its journal: as when the agent is killed there, or the connection
 * is lost for good. Then the next boot, then the next reindex.
 */

const MAPPING = { verify: { sample: 3 }, keep: 1 }
const SQL = `
  create table public."Part" (id bigint, name text, price numeric(12, 2), stock int not null, extra jsonb);
  insert into public."Part" select n, 'part ' || n, n * 1.1, n from generate_series(1, 20) n`
/** A hundred reindexes, on a machine that has other work, too. */
const TIMEOUT_MS = 150_000
const JOURNAL_IS_DEAD = new Error('the process is dead')

/** Each request from this one on is cut; the first may have been done all the same. */
function dieAt(scene: Scene, request: number, isDone: boolean): Partial<ReindexRun> {
  scene.fake.faults.clear()
  if (isDone) scene.fake.faults.cut({ on: 'all', after: request, times: 1, applied: true })
  scene.fake.faults.cut({ on: 'all', after: request, times: Number.POSITIVE_INFINITY, applied: false })
  return {}
}

/** The journal of a process that dies at its n-th line, before it is written or after. */
function dyingJournal(scene: Scene, job: string, line: number, isWritten: boolean): Journal {
  const { journal } = scene.run(job)
  let left = line
  return {
    ...journal,
    record: async (step, data) => {
      left -= 1
      if (left > 0) return await journal.record(step, data)
      if (isWritten && left === 0) await journal.record(step, data)
      scene.fake.faults.cut({ on: 'all', times: Number.POSITIVE_INFINITY, applied: false })
      throw JOURNAL_IS_DEAD
    },
  }
}

/** What searches for the alias reach. */
function liveOf({ fake }: Scene): string | undefined {
  return fake.collections().includes(ALIAS) ? ALIAS : fake.aliases().get(ALIAS)
}

/** It is what was live, or what the rows make, whole. */
async function expectWhole(scene: Scene, old: string[], label: string): Promise<void> {
  const name = liveOf(scene)
  expect(name, label).toBeDefined()
  const documents = scene.fake.documents(name ?? '')
  if (documents.length === old.length) expect(documents.toSorted(), label).toEqual(old.toSorted())
  else await scene.expectFresh(name)
}

/** Whatever else is there was live once; in the end no more of it than is kept. */
async function expectInOrder(scene: Scene, isEnd: boolean, label: string): Promise<void> {
  const { fake, typesense } = scene
  expect(await findLeftoverGenerations(typesense, () => true), label).toEqual([])
  const previous = fake.collections().filter((name) => name !== liveOf(scene) && name !== 'foreign')
  if (isEnd) expect(previous, label).toHaveLength(1)
  for (const name of previous) {
    const generation = readGeneration({ name, metadata: fake.metadata(name) ?? {} })
    expect(generation, label).toMatchObject({ state: 'complete', replaced_by: expect.any(String) })
  }
  expect(fake.documents('foreign')).toHaveLength(1)
}

async function addForeign({ ask }: Scene): Promise<void> {
  await ask('POST', '/collections', { name: 'foreign', fields: [{ name: 'name', type: 'string' }] })
  await ask('POST', '/collections/foreign/documents/import', '{"id":"1","name":"somebody else\'s"}')
}

interface Death {
  /** Where it dies: the n-th request or line. */
  at: number
  job: string
  /** What is given to the run for it. */
  arm: (at: number, job: string) => Partial<ReindexRun>
}

let deaths = 0

/** One reindex that may die, the next boot, and all that must be true before and after it. */
async function dieOnce(scene: Scene, planned: PlannedReindex, { at, job, arm }: Death) {
  const { fake, typesense } = scene
  const label = `after a death at ${at}`
  deaths += 1
  await scene.client.query(`insert into public."Part" select $1, 'more', 1, 1`, [1000 + deaths])
  const name = liveOf(scene) ?? ''
  const old = fake.documents(name)
  const live = await typesense.findCollection(name)
  fake.requests.length = 0
  const over = arm(at, job)
  const isWhole = await scene.reindexPlanned(job, { ...planned, live }, over).then(
    () => true,
    () => false,
  )
  // Faults do not count what health is asked.
  const asked = fake.requests.filter(({ path }) => path !== '/health')
  const hasDied = !isWhole || asked.some(({ status }) => status === 0)
  fake.faults.clear()
  const isBetween = liveOf(scene) === undefined && scene.steps.at(-1)?.step === 'adopting'
  if (!isBetween) await expectWhole(scene, old, label)
  await scene.settle(job)
  await expectWhole(scene, old, label)
  await expectInOrder(scene, !hasDied, label)
  return { hasDied, asked, isBetween }
}

/** At each request, first without its effect; then at each that writes, with it. */
async function dieAtRequests(scene: Scene, begin: () => Promise<void> = async () => undefined) {
  const planned = await scene.plan(MAPPING)
  const job = () => jobOf(1000 + deaths)
  let betweens = 0
  let writes: number[] = []
  for (let at = 0; ; at += 1) {
    await begin()
    const done = await dieOnce(scene, planned, { at, job: job(), arm: (request) => dieAt(scene, request, false) })
    betweens += Number(done.isBetween)
    if (done.hasDied) continue
    writes = done.asked.flatMap(({ method }, index) => (method === 'GET' ? [] : [index]))
    break
  }
  for (const at of writes) {
    await begin()
    const done = await dieOnce(scene, planned, { at, job: job(), arm: (request) => dieAt(scene, request, true) })
    expect(done.asked.find(({ status }) => status === 0)?.method, `at ${at}`).not.toBe('GET')
    betweens += Number(done.isBetween)
  }
  return { writes: writes.length, betweens }
}

test(
  'A reindex that dies at any request leaves a whole index, and nothing that the next boot does not find',
  async () => {
    await using scene = await openScene({ sql: SQL, deadlineMs: TIMEOUT_MS })
    await addForeign(scene)
    await scene.reindex(jobOf(1), { mapping: MAPPING })
    const { writes } = await dieAtRequests(scene)
    // Collection, documents, complete, replaced, alias, and the generation before last.
    expect(writes).toBeGreaterThanOrEqual(6)
    await scene.reindex(jobOf(2), { mapping: MAPPING })
    await scene.expectFresh()
  },
  TIMEOUT_MS,
)

test('A reindex that dies at its line of the journal leaves a whole index', async () => {
  await using scene = await openScene({ sql: SQL, deadlineMs: TIMEOUT_MS })
  await addForeign(scene)
  await scene.reindex(jobOf(1), { mapping: MAPPING })
  const planned = await scene.plan(MAPPING)
  for (const isWritten of [false, true]) {
    const job = jobOf(1000 + deaths)
    const arm = () => ({ journal: dyingJournal(scene, job, 1, isWritten) })
    expect(await dieOnce(scene, planned, { at: 0, job, arm })).toMatchObject({ hasDied: true })
  }
})

test(
  'The first reindex of the name of a plain collection is finished or undone by the next boot wherever it dies',
  async () => {
    await using scene = await openScene({ sql: SQL, deadlineMs: TIMEOUT_MS })
    await addForeign(scene)
    const { writes, betweens } = await dieAtRequests(scene, async () => await beginPlain(scene))
    // Collection, documents, complete, copy, its mark, the plain one's end, alias.
    expect(writes).toBe(7)
    expect(betweens).toBeGreaterThan(1)
  },
  TIMEOUT_MS,
)

/** As somebody has made it by hand, without an alias. */
async function beginPlain({ fake, ask }: Scene): Promise<void> {
  await ask('DELETE', `/aliases/${ALIAS}`)
  for (const name of fake.collections().filter((one) => one !== 'foreign')) await ask('DELETE', `/collections/${name}`)
  await ask('POST', '/collections', { name: ALIAS, fields: [{ name: 'name', type: 'string' }] })
  await ask('POST', `/collections/${ALIAS}/documents/import`, '{"id":"a","name":"plain"}\n{"id":"b","name":"plain"}')
}
