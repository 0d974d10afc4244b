import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentEventSchema, type AgentEvent, type JobEvent } from '@multiboard-sync/shared/event'
import type { JobView } from '@multiboard-sync/shared/protocol'
import { exportJWK, generateKeyPair } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until, withDeadline } from '../../shared/testing/postgres/deadline.ts'
import { readState } from './road/compare-databases.ts'
import { openControl, type Control } from './road/control.ts'
import { startDaemon, type Daemon } from './road/daemon.ts'
import { openGate, type Caught, type Gate } from './road/gate.ts'
import { openWorld, type World } from './road/world.ts'

/** The control plane goes away in the middle of real jobs, in the ways it can, and comes back. One world for all tests. */

const STEP_TIMEOUT_MS = 50_000
const LEASE_MS = 9_000
const SYNC = { kind: 'sync', source: 'production', target: 'staging' }
const SQL = `
create table public."Component" (id bigserial primary key, name text not null);
insert into public."Component" (name) select 'part ' || n from generate_series(1, 500) n;
create table public."Price" (component bigint primary key references public."Component", amount numeric);
insert into public."Price" select id, id * 1.5 from public."Component";`
const EXPORTING = /PUT \S+\/archives\/\S+public\.Component/
const HTML = Buffer.from(
  'HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 24\r\n\r\n<h1>502 Bad Gateway</h1>',
)

let stack: AsyncDisposableStack
let world: World
let control: Control
let daemon: Daemon
let store: Gate
let env: Record<string, string>

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  world = stack.use(await openWorld({ source: { sql: SQL } }))
  control = stack.use(await openControl(world, { leaseMs: LEASE_MS, graceMs: 1_000 }))
  store = stack.use(await openGate(new URL(world.store.endpoint)))
  env = { ...world.env, ...control.env, S3_ENDPOINT: store.url(world.store.endpoint) }
  daemon = await startDaemon(env)
  stack.defer(async () => await daemon.kill())
})

afterAll(async () => await stack.disposeAsync())

async function exporting(): Promise<Caught> {
  return await withDeadline('the export', STEP_TIMEOUT_MS, store.stopAt(EXPORTING, 'before'))
}

/** A proxy's page instead of every answer; the requests themselves arrive. Returns how many were answered so far. */
function answerHtml(): () => number {
  let count = 0
  control.rewrite((bytes) => {
    if (!bytes.subarray(0, 5).equals(Buffer.from('HTTP/'))) return Buffer.alloc(0)
    count += 1
    return HTML
  })
  return () => count
}

/** What the agent has written down to tell; nothing when all was told and the job has ended. */
async function outbox(job: JobView): Promise<AgentEvent[]> {
  const path = join(world.dir, 'state', 'outbox', `${job.id}-1.jsonl`)
  if (!existsSync(path)) return []
  const lines = (await readFile(path, 'utf8')).split('\n').slice(0, -1)
  return lines.map((line) => agentEventSchema.parse(JSON.parse(line)))
}

async function journal(job: JobView): Promise<string> {
  return await readFile(join(world.dir, 'state', 'journal', `${job.id}.jsonl`), 'utf8')
}

async function reaches(job: JobView, phase: string): Promise<AgentEvent[]> {
  return await until(`the phase ${phase} in the outbox`, STEP_TIMEOUT_MS, async () => {
    const told = await outbox(job)
    return told.some(({ type, data }) => type === 'job.phase' && data['phase'] === phase) ? told : undefined
  })
}

/** Follows as an EventSource does, through the proxy that breaks: comes back with the last id it saw, until the end. */
async function followThroughCuts(job: JobView): Promise<{ seen: JobEvent[]; connections: number }> {
  const seen: JobEvent[] = []
  const base = control.env.CONTROL_PLANE_URL
  const timeout = AbortSignal.timeout(STEP_TIMEOUT_MS)
  for (let connections = 1; ; connections += 1) {
    timeout.throwIfAborted()
    const lastEventId = seen.at(-1)?.pos.toString()
    try {
      for await (const frame of control.follow(job.id, { lastEventId, base })) {
        if (frame.event === 'event') seen.push(frame.data as JobEvent)
        if (frame.event === 'end') return { seen, connections }
      }
    } catch {
      // The network's errors are what this is about; what they may not do is checked at the end.
    }
    await sleep(50)
  }
}

test('G6: a control plane that is down until the lease is over delays the commit, and gets every event once, in order', async () => {
  const held = exporting()
  const job = await control.ask(SYNC)
  const caught = await held
  const following = followThroughCuts(job)
  await control.waitForEvent(job.id, 'job.phase', ({ phase }) => phase === 'loading')
  await control.stop()
  await sleep(LEASE_MS)
  caught.release()
  await reaches(job, 'swapping')
  // Everything is loaded and proven, and waits for the lease.
  await sleep(300)
  expect(await journal(job)).not.toContain('"step":"committing"')
  const kept = await outbox(job)
  await control.start()
  for (const bytes of [3_000, 2_000, 2_500]) {
    await sleep(100)
    control.proxy.cutAfterBytes(bytes, 'toClient')
  }
  await control.waitFor(job.id, 'succeeded')
  await control.proxy.resume()

  const { seen, connections } = await withDeadline('the end of the stream', STEP_TIMEOUT_MS, following)
  expect(connections).toBeGreaterThan(1)
  const events = await control.events(job.id)
  expect(events.map(({ pos }) => pos)).toEqual(events.map((_, index) => index + 1))
  expect(seen).toEqual(events)

  const client = await control.database.client()
  const stored = await client.query<{ aseq: number; type: string; data: unknown }>(
    `select aseq, type, data from multiboard.events where job = $1 and src = 'agent' order by pos`,
    [job.id],
  )
  await client.end()
  expect(stored.rows.map(({ aseq }) => aseq)).toEqual(stored.rows.map((_, index) => index + 1))
  expect(kept.length).toBeGreaterThan(8)
  expect(stored.rows.slice(0, kept.length)).toEqual(kept.map(({ aseq, type, data }) => ({ aseq, type, data })))
  expect(stored.rows.at(-1)?.type).toBe('job.ended')
})

test("G18: a proxy's page of HTML in place of every answer does not end the job", async () => {
  const held = exporting()
  const job = await control.ask(SYNC)
  const caught = await held
  const answered = answerHtml()
  caught.release()
  await reaches(job, 'building')
  await until('several pages', STEP_TIMEOUT_MS, () => answered() > 2)
  control.rewrite(undefined)
  expect(await control.waitFor(job.id, 'succeeded')).toMatchObject({ target_state: 'changed' })
})

test('G9: an order whose acceptance is not answered is accepted again, and run once', async () => {
  let pages = (): number => 0
  control.rewrite((bytes) => {
    if (bytes.includes('"order":"')) pages = answerHtml()
    return bytes
  })
  const job = await control.ask(SYNC)
  await until('pages instead of the acceptance', STEP_TIMEOUT_MS, () => pages() > 1)
  expect(await outbox(job)).toEqual([])
  control.rewrite(undefined)
  await control.waitFor(job.id, 'succeeded')
  const events = await control.events(job.id)
  expect(events.filter(({ type }) => type === 'job.accepted')).toHaveLength(1)
  expect(events.filter(({ type, data }) => type === 'job.phase' && data['phase'] === 'swapping')).toHaveLength(1)
})

test('an agent that is stopped while nobody hears it tells the end at its next boot', async () => {
  let pages = (): number => 0
  control.rewrite((bytes) => {
    if (bytes.includes('"order":"')) pages = answerHtml()
    return bytes
  })
  const job = await control.ask(SYNC)
  await until('pages instead of the acceptance', STEP_TIMEOUT_MS, () => pages() > 0)
  daemon.send('SIGTERM')
  await until('the end in the journal', STEP_TIMEOUT_MS, async () => (await journal(job)).includes('"step":"finished"'))
  daemon.send('SIGTERM')
  expect(await daemon.exited()).toBe(0)
  // The next boot is not heard either, and may be stopped like any other.
  const before = pages()
  daemon = await startDaemon(env)
  await until('a page instead of the end', STEP_TIMEOUT_MS, () => pages() > before)
  daemon.send('SIGTERM')
  expect(await daemon.exited()).toBe(0)
  expect(await control.job(job.id)).toMatchObject({ result: null })
  control.rewrite(undefined)
  daemon = await startDaemon(env)
  expect(await control.waitFor(job.id, 'canceled')).toMatchObject({ code: 'canceled', target_state: 'untouched' })
})

test('T9, G3: a job whose target was given to a newer job stops as soon as it hears of it, and changes nothing', async () => {
  const before = await readState(world.target.url)
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const key = join(world.dir, 'second.key.json')
  await writeFile(key, JSON.stringify(await exportJWK(privateKey)))
  await control.call('POST', '/v1/agents', { id: 'vps2', public_jwk: await exportJWK(publicKey) })
  const held = exporting()
  const older = await control.ask({ ...SYNC, agent: 'vps1' })
  const caught = await held
  daemon.send('SIGSTOP')
  await control.letLapse(older.id)
  const second = { ...env, AGENT_ID: 'vps2', AGENT_KEY_FILE: key, AGENT_STATE_DIR: join(world.dir, 'second-state') }
  await using other = await startDaemon(second)
  const newer = await control.ask({ ...SYNC, agent: 'vps2' })
  // The frozen agent holds its lock on the target, as long as its connection stands.
  expect(await control.waitFor(newer.id, 'refused')).toMatchObject({ code: 'target-busy', target_state: 'untouched' })
  daemon.send('SIGCONT')
  caught.release()
  const ended = await until('the older job to stop', STEP_TIMEOUT_MS, async () => {
    const text = await journal(older)
    return text.includes('"step":"finished"') ? text : undefined
  })
  expect(ended).toContain('"code":"fence-superseded"')
  expect(ended).toContain('"target_state":"untouched"')
  expect(ended).not.toContain('"step":"committing"')
  expect(await control.job(older.id)).toMatchObject({ state: 'lost' })
  await other.kill()
  expect(await readState(world.target.url)).toEqual(before)
})
