import type { JobEvent } from '@multiboard-sync/shared/event'
import { isFinished, type JobState } from '@multiboard-sync/shared/job-state'
import { jobViewSchema, type JobView } from '@multiboard-sync/shared/protocol'
import {
  startChaosProxy,
  type ChaosProxy,
  type ChaosProxyOptions,
  type Rewrite,
} from '@multiboard-sync/shared/testing/chaos-proxy'
import { createDatabase, type TestDatabase } from '@multiboard-sync/shared/testing/test-database'
import { exportJWK, generateKeyPair } from 'jose'
import { startControlPlane, type RunningControlPlane } from '../../../control-plane/src/start-control-plane.ts'
import type { Log } from '../../../control-plane/src/web/log.ts'
import { freePort } from '../../../shared/testing/postgres/free-port.ts'
import { until } from '../../../shared/testing/postgres/deadline.ts'
import { writeTrust, type World } from './world.ts'

/** A real control plane for a world's agent, which reaches it through a proxy; people reach it directly. */
export interface Control extends AsyncDisposable {
  database: TestDatabase
  /** Between the agent and the control plane. */
  proxy: ChaosProxy
  /** Changes what the agent hears; undefined ends that. To be used instead of the proxy's own. */
  rewrite(change: Rewrite | undefined): void
  /** What the agent's environment needs. */
  env: { CONTROL_PLANE_URL: string }
  /** A person's call. */
  call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }>
  /** Asks for a job, which must be taken. */
  ask(body: Record<string, unknown>): Promise<JobView>
  job(id: string): Promise<JobView>
  events(id: string): Promise<JobEvent[]>
  /** Waits until the job is in one of the states, and fails when it ends in another. */
  waitFor(id: string, ...states: JobState[]): Promise<JobView>
  /** Waits for an event of the job; `matches` looks at its data. */
  waitForEvent(id: string, type: string, matches?: (data: JobEvent['data']) => boolean): Promise<JobEvent>
  /** The frames of one connection to the job's events. `base` is the proxy's URL or, by default, the direct one. */
  follow(id: string, options?: { lastEventId?: string | undefined; base?: string }): AsyncGenerator<Frame>
  /** Puts the end of the lease and its grace into the past: the agent was silent. */
  letLapse(id: string): Promise<void>
  /** Stops listening, until `start`, which takes the same port and database. */
  stop(): Promise<void>
  start(): Promise<void>
}

interface Watching {
  /** Every byte between the agent and the control plane. */
  tap?: ChaosProxyOptions['tap']
  /** Every record of the control plane's log. */
  log?: Log
}

export interface Frame {
  event: string
  id?: string
  data: unknown
}

const ADMIN_TOKEN = 'an-admin-token-of-the-road-0123456789'
const CALL_TIMEOUT_MS = 20_000
/** Of the same length, so that nothing else of the answer changes: tests are not to wait for idle agents. */
const QUICK_POLL = ['"poll_after_ms":2000', '"poll_after_ms": 200'] as const
/** A job of these tests takes seconds on a quiet machine. */
const JOB_TIMEOUT_MS = 60_000

export async function openControl(
  world: World,
  lease: { leaseMs: number; graceMs: number } = { leaseMs: 90_000, graceMs: 30_000 },
  { tap, log = () => undefined }: Watching = {},
): Promise<Control> {
  await using made = new AsyncDisposableStack()
  const database = made.use(await createDatabase())
  const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true })
  const signingKey = await exportJWK(privateKey)
  await writeTrust(world.dir, [await exportJWK(publicKey)])
  const port = await freePort()
  const proxy = made.use(await startChaosProxy({ target: { host: '127.0.0.1', port }, ...(tap ? { tap } : {}) }))
  const publicUrl = `http://127.0.0.1:${proxy.port}`
  const rewrite: Control['rewrite'] = (change) =>
    proxy.rewrite((bytes, place) => {
      const text = bytes.toString('latin1')
      const quick = text.includes(QUICK_POLL[0]) ? Buffer.from(text.replace(...QUICK_POLL), 'latin1') : bytes
      return change ? change(quick, place) : quick
    })
  rewrite(undefined)
  let running: RunningControlPlane | undefined
  const start = async (): Promise<void> => {
    running = await startControlPlane({
      databaseUrl: database.url,
      signingKey,
      publicUrl,
      adminToken: ADMIN_TOKEN,
      lease,
      host: '127.0.0.1',
      port,
      log,
    })
  }
  const stop = async (): Promise<void> => await running?.close()
  made.defer(stop)
  await start()
  const direct = `http://127.0.0.1:${port}`

  const call: Control['call'] = async (method, path, body) => {
    const response = await fetch(`${direct}${path}`, {
      method,
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const job: Control['job'] = async (id) => jobViewSchema.parse((await call('GET', `/v1/jobs/${id}`)).body)
  const events: Control['events'] = async (id) =>
    (await call('GET', `/v1/jobs/${id}/events?limit=500`)).body['events'] as JobEvent[]

  const registered = await call('POST', '/v1/agents', { id: world.env['AGENT_ID'], public_jwk: world.agentPublicJwk })
  if (registered.status !== 201) throw new Error(`registering the agent answered ${registered.status}`)
  const owned = made.move()
  return {
    database,
    proxy,
    rewrite,
    env: { CONTROL_PLANE_URL: publicUrl },
    call,
    ask: async (body) => {
      // An agent that has never polled has told no policy yet.
      const asked = await until('an agent that may do the job', JOB_TIMEOUT_MS, async () => {
        const answer = await call('POST', '/v1/jobs', body)
        return answer.body['code'] === 'agent-unknown' ? undefined : answer
      })
      if (asked.status !== 201) throw new Error(`the job was not taken: ${JSON.stringify(asked.body)}`)
      return jobViewSchema.parse(asked.body)
    },
    job,
    events,
    waitFor: async (id, ...states) =>
      await until(`the job to be ${states.join(' or ')}`, JOB_TIMEOUT_MS, async () => {
        const view = await job(id)
        if (states.includes(view.state)) return view
        if (isFinished(view.state)) throw new Error(`the job ended: ${JSON.stringify(view)}`)
        return undefined
      }),
    waitForEvent: async (id, type, matches = () => true) =>
      await until(`the event ${type}`, JOB_TIMEOUT_MS, async () =>
        (await events(id)).find((event) => event.type === type && matches(event.data)),
      ),
    follow: async function* (id, { lastEventId, base = direct } = {}) {
      const response = await fetch(`${base}/v1/jobs/${id}/events`, {
        headers: {
          authorization: `Bearer ${ADMIN_TOKEN}`,
          accept: 'text/event-stream',
          ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
        },
        signal: AbortSignal.timeout(JOB_TIMEOUT_MS),
      })
      if (response.status === 204) return
      if (response.status !== 200 || !response.body) throw new Error(`the stream answered ${response.status}`)
      yield* framesOf(response.body)
    },
    letLapse: async (id) => {
      const client = await database.client()
      const past = `now() - interval '1 second'`
      await client.query(`update multiboard.jobs set lease_expires_at = ${past}, lost_at = ${past} where id = $1`, [id])
      await client.end()
    },
    stop,
    start,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}

/** What of a frame was cut off is dropped, as EventSource does. Comments and frames without data are left out. */
async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  let text = ''
  for await (const bytes of body) {
    text += Buffer.from(bytes).toString('latin1')
    const whole = text.split('\n\n')
    text = whole.pop() ?? ''
    for (const frame of whole) {
      const fields = new Map(
        frame.split('\n').map((line) => [line.split(':', 1)[0] ?? '', line.replace(/^\w*: ?/, '')]),
      )
      const [data, id] = [fields.get('data'), fields.get('id')]
      if (data === undefined) continue
      yield { event: fields.get('event') ?? 'message', ...(id === undefined ? {} : { id }), data: JSON.parse(data) }
    }
  }
}
