import { randomBytes, randomUUID } from 'node:crypto'
import { agentEventSchema, type AgentEvent, type JobEvent } from '@multiboard-sync/shared/event'
import type { ArchiveSummary } from '@multiboard-sync/shared/manifest'
import { openOrder } from '@multiboard-sync/shared/signed-order'
import { orderSchema, type Order } from '@multiboard-sync/shared/order'
import { policySchema, policySha256, type Policy } from '@multiboard-sync/shared/policy'
import { viewPolicy } from '@multiboard-sync/shared/policy-view'
import {
  jobViewSchema,
  pollReplySchema,
  type JobResult,
  type JobView,
  type PollReply,
  type PollRequest,
} from '@multiboard-sync/shared/protocol'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { startPgBouncer } from '@multiboard-sync/shared/testing/pgbouncer'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair, type CryptoKey } from 'jose'
import { startControlPlane, type RunningControlPlane, type StartOptions } from '../src/start-control-plane.ts'
import { checkAnswer } from './check-answer.ts'
import { startFreshApps } from './start-fresh-apps.ts'

/** What the tests of the control plane stand on: a real server on a real database, agents that sign, a person. */

export const adminToken = 'an-admin-token-for-tests-0123456789'
/** No call of a test waits longer. */
const CALL_TIMEOUT_MS = 20_000

export interface Answer {
  status: number
  headers: Headers
  body: AnswerBody
}

/** The fields that tests look at; which of them are there depends on the call. */
interface AnswerBody {
  id: string
  code: string
  errors: { field: string; message: string }[]
  ack_aseq: number
  events: JobEvent[]
  jobs: JobView[]
  archives: { id: string }[]
  next: string | null
}

export interface Surroundings extends AsyncDisposable {
  control: RunningControlPlane
  database: TestDatabase
  /** What the control plane has logged, without its records of requests. */
  logged: string[]
  /** Its records of requests. */
  requests: string[]
  publicKey: CryptoKey
  /** A call by a person with the admin token. */
  person(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  ask(body: unknown, headers?: Record<string, string>): Promise<JobView>
  /** All events of a job. */
  events(id: string): Promise<JobEvent[]>
  job(id: string): Promise<JobView>
  /** Puts the end of a job's lease and grace into the past: its agent was silent. */
  letLapse(id: string): Promise<void>
  registerAgent(id: string, policy?: Policy): Promise<Agent>
}

export interface Agent {
  id: string
  key: CryptoKey
  /** A signed call. */
  call(path: string, body: unknown, jti?: string): Promise<Answer>
  policy: Policy
  poll(options?: { jti?: string; bootId?: string; running?: PollRequest['running'] }): Promise<PollReply>
  /** Polls, and opens the order as an agent would. */
  claim(jti?: string): Promise<Order | undefined>
  /** Claims and accepts; throws when nothing was waiting. */
  begin(): Promise<Order>
  accept(order: Order): Promise<Answer>
  report(order: Order, events?: AgentEvent[], more?: Record<string, unknown>): Promise<Answer>
  complete(order: Order, result?: Partial<JobResult>, lastAseq?: number): Promise<Answer>
}

/** Databases named s1…: sources; t1…: targets, with every route between them. */
export function policyOf(targets: string[] = ['staging']): Policy {
  return policySchema.parse({
    databases: {
      production: { role: 'source', protected: true },
      ...Object.fromEntries(targets.map((name) => [name, { role: 'target' }])),
    },
    routes: targets.map((to) => ({ from: 'production', to })),
  })
}

/** How the control plane runs. Whole runs are switched by the environment: FRESH_APP=1, PGBOUNCER=1. */
export interface Mode {
  /** Default: one process; with FRESH_APP=1 a new app and pool for each request, as functions may be. */
  start?: (options: StartOptions) => Promise<RunningControlPlane>
  /** Its connections go through a pooler in transaction mode. */
  pooled?: boolean
}

function modeOfRun(): Required<Mode> {
  const { FRESH_APP, PGBOUNCER } = process.env
  return { start: FRESH_APP === '1' ? startFreshApps : startControlPlane, pooled: PGBOUNCER === '1' }
}

export async function startSurroundings(over: Partial<StartOptions> = {}, mode: Mode = {}): Promise<Surroundings> {
  await using stack = new AsyncDisposableStack()
  const { start, pooled } = { ...modeOfRun(), ...mode }
  const database = stack.use(await createDatabase())
  const pooler = pooled ? stack.use(await startPgBouncer(database.url)) : undefined
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  const logged: string[] = []
  const requests: string[] = []
  const control = stack.use(
    await start({
      databaseUrl: pooler?.url(database.url) ?? database.url,
      signingKey: await exportJWK(privateKey),
      adminToken,
      lease: { leaseMs: 90_000, graceMs: 30_000 },
      host: '127.0.0.1',
      port: 0,
      log: (record) => void (record['event'] === 'request' ? requests : logged).push(JSON.stringify(record)),
      limits: { person: 1e6, agent: 1e6, stranger: 1e6 },
      ...over,
    }),
  )
  const person: Surroundings['person'] = async (method, path, body, headers = {}) =>
    await answerOf(
      await fetch(`${control.url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${adminToken}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
      }),
      method,
    )
  const resources = stack.move()
  return {
    control,
    database,
    logged,
    requests,
    publicKey,
    person,
    ask: async (body, headers) => jobViewSchema.parse((await person('POST', '/v1/jobs', body, headers)).body),
    events: async (id) => (await person('GET', `/v1/jobs/${id}/events?limit=500`)).body.events,
    job: async (id) => jobViewSchema.parse((await person('GET', `/v1/jobs/${id}`)).body),
    letLapse: async (id) => {
      const client = await database.client()
      const past = "now() - interval '1 second'"
      await client.query(`update multiboard.jobs set lease_expires_at = ${past}, lost_at = ${past} where id = $1`, [id])
    },
    registerAgent: async (id, policy = policyOf()) => {
      const pair = await generateKeyPair('EdDSA', { extractable: true })
      const registered = await person('POST', '/v1/agents', { id, public_jwk: await exportJWK(pair.publicKey) })
      if (registered.status !== 201) throw new Error(`registering: ${JSON.stringify(registered.body)}`)
      const agent = agentOf(control.url, publicKey, id, pair.privateKey, policy)
      await agent.poll()
      return agent
    },
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

function agentOf(url: string, publicKey: CryptoKey, id: string, key: CryptoKey, policy: Policy): Agent {
  const call: Agent['call'] = async (path, body, jti) => {
    const text = JSON.stringify(body)
    const authorization = await signRequest({ method: 'POST', path, body: text, origin: url }, id, key, jti)
    return await post(`${url}${path}`, text, authorization)
  }
  const poll: Agent['poll'] = async ({ jti, bootId = randomUUID(), running = [] } = {}) => {
    const answer = await call('/v1/agent/poll', { ...pollBody(policy, running), boot_id: bootId }, jti)
    if (answer.status !== 200) throw new Error(`poll: ${answer.status} ${JSON.stringify(answer.body)}`)
    return pollReplySchema.parse(answer.body)
  }
  const claim: Agent['claim'] = async (jti) => {
    const { order } = await poll(jti === undefined ? {} : { jti })
    if (order === undefined) return undefined
    return orderSchema.parse(await openOrder(order, async () => publicKey))
  }
  const accept: Agent['accept'] = async ({ job }) =>
    await call(`/v1/agent/jobs/${job.id}/accept`, { epoch: job.epoch, verdict: 'accepted' })
  return {
    id,
    key,
    policy,
    call,
    poll,
    claim,
    accept,
    begin: async () => {
      const order = await claim()
      if (!order) throw new Error('no order was waiting')
      const { status } = await accept(order)
      if (status !== 200) throw new Error(`accepting answered ${status}`)
      return order
    },
    report: async ({ job }, events = [], more = {}) =>
      await call(`/v1/agent/jobs/${job.id}/report`, {
        epoch: job.epoch,
        phase: 'exporting',
        stalled_ms: 0,
        events,
        ...more,
      }),
    complete: async ({ job }, result = {}, lastAseq = 0) =>
      await call(`/v1/agent/jobs/${job.id}/complete`, {
        epoch: job.epoch,
        result: { ...succeeded, ...result },
        last_aseq: lastAseq,
      }),
  }
}

const succeeded: JobResult = {
  outcome: 'succeeded',
  target_state: 'changed',
  tables: 3,
  rows: 30,
  bytes: 300,
  seconds: 1,
  peak_rss_mb: 60,
}

export function pollBody(policy: Policy, running: PollRequest['running'] = []): PollRequest {
  return {
    version: '0.1.0',
    boot_id: randomUUID(),
    policy: viewPolicy(policy),
    policy_sha256: policySha256(policy),
    trusted_kids: [],
    databases: [],
    running,
  }
}

/** Events with the numbers from … to. */
export function eventsOf(from: number, to: number): AgentEvent[] {
  return Array.from({ length: to - from + 1 }, (_, index) =>
    agentEventSchema.parse({
      aseq: from + index,
      type: 'table.exported',
      level: 'info',
      at: new Date().toISOString(),
      data: { n: from + index },
    }),
  )
}

export function archiveOf(id: string, over: Partial<ArchiveSummary> = {}): ArchiveSummary {
  return {
    id,
    kind: 'export',
    source: 'production',
    job: 'j000000000000',
    created_at: '2026-11-22T08:03:12Z',
    server_version: 180_004,
    tables: [{ name: 'public.Component', rows: 3, bytes: 30 }],
    rows: 3,
    bytes: 30,
    compressed_bytes: 20,
    manifest_sha256: randomBytes(32).toString('hex'),
    missing: [],
    ...over,
  }
}

export async function post(url: string, body: string, authorization: string): Promise<Answer> {
  return await answerOf(
    await fetch(url, {
      method: 'POST',
      body,
      headers: { authorization, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    }),
    'POST',
  )
}

/** Every answer is JSON of ours, errors too, and as the document of the API says: a page of HTML fails any test. */
export async function answerOf(response: Response, method?: string): Promise<Answer> {
  const { headers, status, url } = response
  const text = await response.text()
  if (Number.isNaN(Date.parse(headers.get('date') ?? ''))) throw new Error('the answer has no Date')
  const path = url === '' ? undefined : new URL(url).pathname
  if (path) await checkAnswer({ method, path, status, contentType: headers.get('content-type'), body: text })
  if (status === 204 || status === 304) return { status, headers, body: {} as AnswerBody }
  const type = headers.get('content-type') ?? ''
  const expected = status < 400 ? 'application/json' : 'application/problem+json'
  if (!type.startsWith(expected)) throw new Error(`${status} came as "${type}": ${text.slice(0, 200)}`)
  return { status, headers, body: JSON.parse(text) as AnswerBody }
}
