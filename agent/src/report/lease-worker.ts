import { randomUUID, webcrypto } from 'node:crypto'
import { Agent as PlainAgent, request as requestPlain, type IncomingMessage } from 'node:http'
import { Agent as TlsAgent, request as requestTls } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { isTooLateToCancel } from '@multiboard-sync/shared/job-state'
import { REQUEST_ALGORITHM, REQUEST_SCHEME, REQUEST_TYPE, requestClaims } from '@multiboard-sync/shared/request-claims'
import { deadlineOf, openLeaseMemory, renewEveryMs } from './lease-memory.ts'
import type { LeaseNews, LeaseWorkerInput } from './lease-messages.ts'

/*
 * The inside of the lease's thread: a job keeps its lease while the main thread is too busy to ask for it. The main thread
 * renews by every report, and as long as it does this thread sends nothing: it asks only when the newest renewal is a
 * quarter later than it should be. It tells the phase that was current when it asked, how long nothing has moved, and no
 * events. It never ends a job and never believes a stranger: what is not our control plane's answer is asked again, and a
 * refusal is left to the main thread. It gives up a main thread that has stood still for ten minutes: that is not busy.
 * Few imports, because each costs memory for as long as a job runs: no zod, no jose, no fetch.
 */

const { caller, job, epoch, buffer, phases, proxyEnv } = workerData as LeaseWorkerInput
const memory = openLeaseMemory(undefined, buffer)
const base = new URL(caller.url)
const url = new URL(`${base.pathname.replace(/\/$/, '')}/v1/agent/jobs/${encodeURIComponent(job)}/report`, base.origin)
const isTls = url.protocol === 'https:'
const request = isTls ? requestTls : requestPlain
/** A new connection each time, as renewals are rare; through the proxy that the main thread's fetch takes, too. */
const agent = isTls ? new TlsAgent({ proxyEnv }) : new PlainAgent({ proxyEnv })

/** Of the main thread's own interval: what it does in time is not done twice. */
const LATE_SHARE = 1.25
const JITTER = 0.1
/** A loop that has not turned for so long hangs, and its target is to be free for others. */
const STUCK_MS = 600_000
/** As poll/retry-delay.ts has it at most. */
const RETRY_MS = 15_000
const RETRIES_PER_LEASE = 8
const TIMEOUT_MS = 20_000
const ANSWER_MAX_BYTES = 64 * 1024

interface Reply {
  lease_ms: number
  cancel: boolean
}

/** Until the main thread has heard how long a lease is. */
const FIRST_LEASE_MS = 90_000

/** The order was accepted just now, which is as good as a renewal: the first report is the main thread's. */
const startedAtMs = memory.stamp().monotonicMs
/** Nothing is known of the next request's fate before this time. */
let notBeforeMs = 0
let jitter = 1

function currentLeaseMs(): number {
  return memory.leaseMs() || FIRST_LEASE_MS
}

function dueInMs(): number {
  const lateMs = renewEveryMs(currentLeaseMs()) * LATE_SHARE * jitter
  const nowMs = memory.stamp().monotonicMs
  return Math.max(lateMs - Math.min(memory.sinceRenewalMs(), nowMs - startedAtMs), notBeforeMs - nowMs)
}

async function authorization(body: string): Promise<string> {
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const facts = { method: 'POST', path: url.pathname, body, origin: base.origin }
  const claims = requestClaims(facts, caller.agent, randomUUID(), new Date())
  const signed = `${encode({ alg: REQUEST_ALGORITHM, typ: REQUEST_TYPE })}.${encode(claims)}`
  const signature = await webcrypto.subtle.sign('Ed25519', caller.key, Buffer.from(signed))
  return `${REQUEST_SCHEME} ${signed}.${Buffer.from(signature).toString('base64url')}`
}

/** The answer, if it is our control plane's: a success of JSON, or a problem. Rejects when none came. */
async function post(body: string, timeoutMs: number): Promise<{ status: number; isOurs: boolean; text: string }> {
  const signal = AbortSignal.timeout(timeoutMs)
  const headers = {
    authorization: await authorization(body),
    accept: 'application/json, application/problem+json',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'user-agent': `multiboard-sync-agent/${caller.version}`,
  }
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, { method: 'POST', headers, agent, signal }, resolve).on('error', reject).end(body)
  })
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > ANSWER_MAX_BYTES) throw new Error('the answer is too large')
    chunks.push(chunk)
  }
  const status = response.statusCode ?? 0
  const type = response.headers['content-type']?.split(';')[0]?.trim().toLowerCase()
  const isOurs = type === (status >= 400 ? 'application/problem+json' : 'application/json')
  return { status, isOurs, text: Buffer.concat(chunks).toString('utf8') }
}

function parseReply(text: string): Reply | undefined {
  const reply = JSON.parse(text) as Partial<Record<keyof Reply, unknown>> | null
  const { lease_ms, cancel } = reply ?? {}
  return typeof lease_ms === 'number' && lease_ms >= 0 && typeof cancel === 'boolean' ? { lease_ms, cancel } : undefined
}

function tell(news: LeaseNews): void {
  parentPort?.postMessage(news)
}

async function renew(): Promise<void> {
  const leaseMs = currentLeaseMs()
  const phase = phases[memory.phase()] ?? 'preflight'
  const sent = memory.stamp()
  const body = JSON.stringify({ epoch, phase, stalled_ms: Math.round(memory.stalledMs()), events: [] })
  jitter = 1 + JITTER * (2 * Math.random() - 1)
  notBeforeMs = sent.monotonicMs + Math.min(RETRY_MS, Math.max(250, leaseMs / RETRIES_PER_LEASE))
  const { status, isOurs, text } = await post(body, Math.min(TIMEOUT_MS, Math.max(1000, leaseMs / 4)))
  if (!isOurs) return
  const reply = status === 200 ? parseReply(text) : undefined
  if (reply) {
    if (isTooLateToCancel(phase) && !reply.cancel) memory.setDeadline(deadlineOf(sent, reply.lease_ms))
    memory.noteRenewal(sent, reply.lease_ms)
    tell({ type: 'renewed', cancel: reply.cancel, phase })
  } else if (status >= 400 && status < 500) tell({ type: 'refused' })
}

for (;;) {
  const waitMs = dueInMs()
  // Looked at again soon: the main thread's renewals come without a word.
  if (waitMs > 0) await sleep(Math.min(waitMs, 1000))
  else if (memory.sinceTurnMs() > STUCK_MS) await sleep(1000)
  else await renew().catch(() => undefined)
}
