import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until, withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { enroll } from '../src/enroll.ts'
import { readEnrollEnv } from '../src/env.ts'
import { rotateKey } from '../src/rotate-key.ts'
import { openControl, type Control } from './road/control.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { openGate, type Gate } from './road/gate.ts'
import { openWorld, type World } from './road/world.ts'

/* A running agent that is revoked in the middle of a job, and let in again: by mistake both. */

const STEP_TIMEOUT_MS = 50_000
const SQL = `create table public.part (id int primary key, name text);
  insert into public.part select n, 'part ' || n from generate_series(1, 100) n`
const EXPORTING = /PUT \S+\/archives\/\S+public\.part/
const QUIET_MS = 6_000

let stack: AsyncDisposableStack
let world: World
let control: Control
let store: Gate
let daemon: Daemon
let env: Record<string, string>
let requests = 0

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  world = stack.use(await openWorld({ source: { sql: SQL } }))
  const tap = (bytes: Buffer, direction: string): void => {
    if (direction === 'toServer' && bytes.toString('latin1').startsWith('POST ')) requests += 1
  }
  control = stack.use(await openControl(world, { leaseMs: 9_000, graceMs: 1_000 }, { tap }))
  store = stack.use(await openGate(new URL(world.store.endpoint)))
  env = { ...world.env, ...control.env, S3_ENDPOINT: store.url(world.store.endpoint) }
  daemon = await startDaemon(env)
  stack.defer(async () => await daemon.kill())
})
afterAll(async () => await stack.disposeAsync())

test('T23: a revoked agent stops its job, says why, keeps what it knows, does not hammer, and comes back when it is let in', async () => {
  const exporting = withDeadline('the export', STEP_TIMEOUT_MS, store.stopAt(EXPORTING, 'before'))
  const job = await control.ask({ kind: 'sync', source: 'production', target: 'staging' })
  const caught = await exporting
  const waiting = await control.ask({ kind: 'export', source: 'production' })
  expect((await control.call('POST', '/v1/agents/vps1/revoke')).status).toBe(200)
  const records = (): Record<string, unknown>[] =>
    daemon
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  const found = await until('the word on it in the log', STEP_TIMEOUT_MS, async () =>
    records().find(({ code, again_in_ms }) => code === 'agent-revoked' && again_in_ms !== undefined),
  )
  expect(found).toMatchObject({ again_in_ms: 300_000, hint: expect.stringContaining('enroll --code') })
  caught.release()

  // Nothing is asked for meanwhile, and nothing of what it has done is forgotten.
  const asked = requests
  await sleep(QUIET_MS)
  expect(requests - asked).toBeLessThanOrEqual(2)
  const journal = await readFile(join(world.dir, 'state', 'journal', `${job.id}.jsonl`), 'utf8')
  expect(journal.trim().split('\n').at(-1)).toContain('"step":"finished"')
  expect(journal).not.toContain('committing')
  expect(await readdir(join(world.dir, 'state', 'outbox'))).toContain(`${job.id}-1.jsonl`)
  expect((await control.job(waiting.id)).state).toBe('queued')

  const { body } = await control.call('POST', '/v1/enrollments', { agent: 'vps1' })
  const signal = AbortSignal.timeout(STEP_TIMEOUT_MS)
  await enroll(readEnrollEnv(env), String(body['code']), '0.1.0', signal)
  daemon.send('SIGHUP')
  // It was making the tables, in its one transaction.
  expect(await control.waitFor(job.id, 'failed', 'canceled')).toMatchObject({ target_state: 'rolled_back' })
  await control.waitFor(waiting.id, 'succeeded')

  // Its key exchanged while it runs: SIGHUP, and the one before may go.
  const { kid } = await rotateKey(readEnrollEnv(env), '0.1.0', AbortSignal.timeout(STEP_TIMEOUT_MS))
  daemon.send('SIGHUP')
  await until('the daemon to have read its key again', STEP_TIMEOUT_MS, async () => daemon.log().includes(kid))
  const client = await control.database.client()
  await client.query('update multiboard.agents set previous_until = now()')
  const last = await control.ask({ kind: 'export', source: 'production' })
  await control.waitFor(last.id, 'succeeded')
  daemon.send('SIGTERM')
  expect(await daemon.exited()).toBe(0)
})
