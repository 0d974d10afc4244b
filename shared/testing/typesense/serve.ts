import { gunzipSync, constants } from 'node:zlib'
import { setTimeout as pause } from 'node:timers/promises'
import { answerJson, answerMessage, NOT_FOUND, readBody, Refusal, wholeBody, type Answer, type Call } from './answer.ts'
import { isWrite, NOT_READY, takeFault, type Asked, type Effect, type Plan } from './faults.ts'
import type { Indexing } from './indexing.ts'
import { FORBIDDEN, mayDo } from './keys.ts'
import { findRoute, type Route } from './routes.ts'
import type { State } from './state.ts'

/** The longest request line that h2o takes: 8192 + 4096 * 100 bytes. */
export const LONGEST_URL_BYTES = 8192 + 4096 * 100

/** What became of a request, for assertions. */
export interface LoggedRequest {
  method: string
  /** Without the query. */
  path: string
  /** With its `?`, or empty. */
  query: string
  /** 0 where the connection ended without an answer. */
  status: number
}

export interface Serving {
  state: State
  plan: Plan
  indexing: Indexing
  requests: LoggedRequest[]
}

/** A request as it comes in: its body is asked for only when nothing ends it before. */
export interface Incoming {
  method: string
  /** Path and query. */
  url: string
  apiKey: string | undefined
  /** Rejects when the connection ends before the last byte, or `afterBytes` have come and it is to end. */
  readBody(afterBytes?: number): Promise<Buffer>
}

/** `cut`: the connection ends here, or after so many bytes of the answer. */
export type Outcome = { cut: true } | { cut: false; answer: Answer; endsAfterBytes?: number }
const OPEN_WHILE_STARTING = new Set(['debug', 'stats.json', 'metrics.json', 'operations', 'status'])
const CUT: Outcome = { cut: true }

/** Handles a request to its end. Rejects only when its body does not come to an end. */
export async function serve(serving: Serving, incoming: Incoming): Promise<Outcome> {
  const url = new URL(incoming.url, 'http://localhost')
  const logged = { method: incoming.method, path: url.pathname, query: url.search, status: 0 }
  serving.requests.push(logged)
  const outcome = await answerOrCut(serving, incoming, url)
  if (!outcome.cut) logged.status = outcome.answer.status
  return outcome
}

async function answerOrCut(serving: Serving, incoming: Incoming, url: URL): Promise<Outcome> {
  const { method } = incoming
  const { plan, state } = serving
  if (incoming.url.length > LONGEST_URL_BYTES) {
    return told({ status: 400, contentType: 'text/plain; charset=utf-8', body: 'Bad Request' })
  }
  if (url.pathname === '/health') return told(answerHealth(plan))
  const asked: Asked = { method, path: url.pathname, query: url.searchParams }
  const fault = takeFault(plan, asked)
  const body = await incoming.readBody(fault?.kind === 'cut-body' ? fault.afterBytes : undefined)
  const call: Call = {
    method,
    path: url.pathname,
    segments: url.pathname
      .split('/')
      .filter((segment) => segment !== '')
      .map(decode),
    query: url.searchParams,
    apiKey: incoming.apiKey ?? url.searchParams.get('x-typesense-api-key') ?? undefined,
    body: unzip(body),
  }
  if (fault?.kind === 'answer') return told(fault.answer)
  if (fault?.kind === 'stall') {
    await plan.cleared.promise
    return CUT
  }
  if (fault?.kind === 'delay') await Promise.race([pause(fault.delayMs), plan.cleared.promise])
  if (fault?.kind === 'cut' && !fault.applied) return CUT
  if (fault?.kind === 'cut') {
    // Held writes are applied later than this connection ends, as on a server that is behind.
    void perform(serving, state, call)
    return CUT
  }
  return change(await perform(serving, state, call), fault)
}

const told = (answer: Answer): Outcome => ({ cut: false, answer })

function change(answer: Answer, fault: Effect | undefined): Outcome {
  if (fault?.kind === 'cut-reply') return { cut: false, answer, endsAfterBytes: fault.afterBytes }
  if (fault?.kind !== 'reply' || answer.status !== 200) return told(answer)
  const lines = wholeBody(answer).toString().split('\n')
  return told({ ...answer, body: fault.change === 'empty' ? '' : lines.slice(0, -1).join('\n') })
}

async function perform({ plan, indexing }: Serving, state: State, call: Call): Promise<Answer> {
  const route = findRoute(state, call)
  const isStatus = call.method === 'GET' && call.path === '/status'
  if (!route && !isStatus) return NOT_FOUND
  if (plan.starting && !OPEN_WHILE_STARTING.has(call.segments[0] ?? '')) return NOT_READY
  const collection = call.segments[0] === 'collections' ? collectionAsked(call) : undefined
  if (!mayDo(state, call.apiKey, route?.action ?? 'status:list', collection)) return answerMessage(401, FORBIDDEN)
  if (!route) {
    const { committedIndex } = state
    return answerJson({ committed_index: committedIndex, queued_writes: indexing.queued(), state: 'LEADER' })
  }
  if (plan.resource && takesRoom(call)) {
    return answerMessage(422, `Rejecting write: running out of resource type: ${plan.resource}`)
  }
  if (route.queued) await indexing.turn()
  return answerCall(state, route, call)
}

function answerCall(state: State, route: Route, call: Call): Answer {
  try {
    const answer = route.answer(state, call)
    if (isWrite(call)) state.committedIndex += 1
    return answer
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return answerMessage(
      error.status,
      error.message,
      call.path.endsWith('/documents') && call.method === 'DELETE' ? 'application/json' : undefined,
    )
  }
}

/** The name that a key's collections are held against: in the path, or in the body of what is to be made. */
function collectionAsked(call: Call): string | undefined {
  if (call.segments.length > 1) return call.segments[1]
  if (call.method !== 'POST') return undefined
  try {
    const { name } = readBody(call)
    return typeof name === 'string' ? name : undefined
  } catch {
    // The handler tells what is wrong with the body, to whoever may make a collection at all.
    return undefined
  }
}

const takesRoom = (call: Call) => isWrite(call) && call.method !== 'DELETE'

function answerHealth(plan: Plan): Answer {
  if (plan.starting) return answerJson({ ok: false }, 503)
  return answerJson(plan.resource ? { ok: true, resource_error: plan.resource } : { ok: true })
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/** Known by its first bytes, whatever the headers say. One that breaks off is taken as far as it goes. */
function unzip(body: Buffer): Buffer {
  const zipped = body[0] === 0x1f && body[1] === 0x8b
  return zipped ? gunzipSync(body, { finishFlush: constants.Z_SYNC_FLUSH }) : body
}
