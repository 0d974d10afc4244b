import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobResult } from '@multiboard-sync/shared/protocol'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { startObjectStore, type ObjectStore } from '@multiboard-sync/shared/testing/object-store'
import { requestSchemas } from '@multiboard-sync/shared/testing/protocol-v1-n1'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { runLocalJob } from '../src/cli/run-local-job.ts'
import { readEnv } from '../src/env.ts'
import { openContext } from '../src/open-context.ts'
import { makeOrder, newStateDir, startAgent, writeInstallation, type Keys } from './trust/agents.ts'
import { startPlane, type Endpoint, type Plane } from './trust/plane.ts'

/*
 * What stands between agent and control plane, and control planes of other versions, answer in every way; each of these
 * agents runs a job meanwhile, which ends at its first step. Those of one endpoint run at the same time: they spend it waiting.
 */

const STEP_TIMEOUT_MS = 50_000
const TIMES = 2
/** A job takes longer than a poll. */
const JOB_MS = 200

let stack: AsyncDisposableStack
let dir: string
let keys: Keys
let plane: Plane
let store: ObjectStore
let database: TestDatabase
let env: Record<string, string>

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  dir = await mkdtemp(join(tmpdir(), 'trust-faults-'))
  stack.defer(async () => await rm(dir, { recursive: true }))
  keys = await writeInstallation(dir)
  plane = stack.use(await startPlane(keys.agent.publicKey))
  store = stack.use(await startObjectStore())
  await store.createBucket('archive')
  database = stack.use(
    await createDatabase({ sql: 'create table public.t (n int primary key); insert into public.t values (1), (2)' }),
  )
  env = {
    ...keys.files,
    S3_ENDPOINT: store.endpoint,
    S3_REGION: store.region,
    S3_BUCKET: 'archive',
    S3_ACCESS_KEY_ID: store.accessKeyId,
    S3_SECRET_ACCESS_KEY: store.secretAccessKey,
    S3_FORCE_PATH_STYLE: 'true',
    PRODUCTION_DATABASE_URL: database.url,
  }
  await seedArchive()
  const stderr = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  stack.defer(() => stderr.mockRestore())
})

/** Something for the catalogue to tell: an archive of the same agent key, made by a real export. */
async function seedArchive(): Promise<void> {
  const seedEnv = { ...env, AGENT_STATE_DIR: await newStateDir(), S3_PREFIX: 'seeded' }
  await using opened = await openContext(readEnv(seedEnv))
  const options = { dryRun: false, sinks: [], signal: AbortSignal.timeout(STEP_TIMEOUT_MS) }
  const { result } = await runLocalJob(opened, { kind: 'export', source: 'production' }, options)
  if (result.outcome !== 'succeeded') throw new Error(`the export: ${outcomeOf(result)}`)
  await rm(seedEnv.AGENT_STATE_DIR, { recursive: true })
}

afterAll(async () => await stack.disposeAsync())

const page = (status: number) => (response: ServerResponse) =>
  void response.writeHead(status, { 'content-type': 'text/html' }).end('<html><h1>Authentication required</h1></html>')
const problem = (status: number, more: object) => (response: ServerResponse) =>
  void response
    .writeHead(status, { 'content-type': 'application/problem+json', 'retry-after': '1' })
    .end(JSON.stringify({ type: 'about:blank', title: 'No.', status, ...more }))

const FAULTS: Record<string, (response: ServerResponse) => void> = {
  'HTML with 200': page(200),
  'HTML with 401': page(401),
  'HTML with 403': page(403),
  'HTML with 404': page(404),
  'HTML with 409': page(409),
  'HTML with 502': page(502),
  'HTML with 503': page(503),
  'nothing at all with 200': (response) => void response.writeHead(200).end(),
  'JSON that breaks off': (response) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end('{"poll_after_ms":5'),
  'JSON of another form': (response) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end('{"hello":"world"}'),
  'a redirect to a login': (response) => void response.writeHead(302, { location: 'https://login.example.com' }).end(),
  'a connection that is cut': (response) => void response.destroy(),
  'a problem of an unknown code': problem(409, { code: 'moon-phase-wrong' }),
  'a problem with fields of the future': problem(403, {
    code: 'moon-phase-wrong',
    moon: { phase: [1] },
    retryable: false,
  }),
  'a problem that is ours, of the server': problem(500, { code: 'internal', retryable: true }),
  'a problem that says too many requests': problem(429, { code: 'rate-limited', retryable: true }),
}

/** The previous version's control plane is strict: what today's agent sends must not be more than it knew. */
const validators = (() => {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  const { order: _order, ...requests } = requestSchemas()
  return Object.fromEntries(Object.entries(requests).map(([name, schema]) => [name, ajv.compile(schema)]))
})()

interface Lived {
  /** How often the fault was answered. */
  faults: number
  verdicts: string[]
  outcomes: string[]
  ends: number
  isGapless: boolean
  /** How often the job was begun. */
  runs: number
  isAlive: boolean
}

const outcomeOf = ({ outcome, code, target_state }: JobResult): string => `${outcome} ${code} ${target_state}`

let agents = 0
const unknownToOlder = new Set<string>()

async function live(endpoint: Endpoint, fault: (response: ServerResponse) => void): Promise<Lived> {
  agents += 1
  const id = `vps${agents}`
  const seen = plane.agent(id)
  const stateDir = await newStateDir()
  let faults = 0
  seen.misbehave = (asked, response) => {
    // The first poll is let through, so that there is a job.
    if (asked !== endpoint || faults >= TIMES || (endpoint === 'poll' && seen.polls.length === 0)) return false
    faults += 1
    fault(response)
    return true
  }
  seen.onRequest = (asked, body) => {
    const validate = validators[asked]
    if (validate?.(body) === false) {
      for (const { instancePath, message } of validate.errors ?? []) {
        unknownToOlder.add(`${asked}${instancePath.replaceAll(/\d+/g, '*')} ${message}`)
      }
    }
  }
  const { token, order } = await makeOrder(keys, {
    agent: id,
    origin: plane.origin,
    params: { kind: 'export', source: 'production' },
  })
  if (endpoint !== 'poll') seen.orders.push(token)
  let runs = 0
  const check = async (): Promise<void> => {
    runs += 1
    await sleep(JOB_MS)
    throw new SyncError('storage-failed', 'The bucket was not looked at.')
  }
  const agent = await startAgent(
    { ...env, AGENT_ID: id, AGENT_STATE_DIR: stateDir, S3_PREFIX: endpoint === 'archives' ? 'seeded' : id },
    plane.origin,
    (opened) => ({ ...opened, context: { ...opened.context, store: { ...opened.context.store, check } } }),
  )
  try {
    const within = async (what: string, check: () => boolean): Promise<unknown> =>
      await until(`${what} of ${id}`, STEP_TIMEOUT_MS, () => Promise.resolve(check() ? true : undefined))
    await within('the first poll', () => seen.polls.length > 0)
    if (endpoint === 'poll') seen.orders.push(token)
    await within('the end', () => seen.completions.length > 0)
    await within('the faults', () => faults >= TIMES)
    const polled = seen.polls.length
    await within('further polls', () => seen.polls.length > polled + 1)
    if (endpoint === 'archives') await within('the catalogue', () => seen.archives.length > 0)
    const isAlive = await Promise.race([agent.ended.then(() => false), Promise.resolve(true)])
    return {
      faults,
      verdicts: [...new Set(seen.verdicts.map(({ verdict }) => verdict))],
      outcomes: [...new Set(seen.completions.map(({ body }) => outcomeOf(body.result)))],
      ends: seen.completions.filter(({ job }) => job === order.job.id).length,
      isGapless: seen.events.every(({ aseq }, index) => aseq === index + 1),
      runs,
      isAlive,
    }
  } finally {
    await agent[Symbol.asyncDispose]()
    await rm(stateDir, { recursive: true, force: true })
  }
}

test.each(['poll', 'accept', 'report', 'complete', 'archives'] as const)(
  'G18: whatever answers in place of %s, the agent lives, the job runs once, and its end is told when that is over',
  async (endpoint) => {
    const lived = await Promise.all(
      Object.entries(FAULTS).map(async ([name, fault]) => [name, await live(endpoint, fault)] as const),
    )
    for (const [name, told] of lived) {
      expect(told, name).toEqual({
        faults: TIMES,
        verdicts: ['accepted'],
        outcomes: ['failed storage-failed untouched'],
        ends: 1,
        isGapless: true,
        runs: 1,
        isAlive: true,
      })
    }
    expect(lived.length).toBe(Object.keys(FAULTS).length)
  },
)

test('G17: an agent says nothing to its control plane that one of the previous version would refuse', () => {
  expect(agents).toBeGreaterThan(50)
  expect([...unknownToOlder]).toEqual([])
})
