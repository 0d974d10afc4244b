import { answerMessage, JSON_TYPE, type Answer } from './answer.ts'
import { FORBIDDEN } from './keys.ts'

/** What a fault is told of a request. Health is not among them: it is answered whatever happens to the rest. */
export interface Asked {
  method: string
  path: string
  query: URLSearchParams
}
/** Which requests a fault is for. `writes` are all that change something, `imports` those of documents. */
export type Match = 'all' | 'writes' | 'imports' | 'exports' | ((asked: Asked) => boolean)
export interface When {
  /** Default: `imports`, or what the fault says. */
  on?: Match
  /** So many requests get it; default 1, Infinity until it is cleared. */
  times?: number
  /** So many matching requests go through before the first gets it. */
  after?: number
}

export type Effect =
  | { kind: 'answer'; answer: Answer }
  | { kind: 'reply'; change: 'short' | 'empty' }
  | { kind: 'cut'; applied: boolean }
  | { kind: 'cut-body' | 'cut-reply'; afterBytes: number }
  | { kind: 'stall' }
  | { kind: 'delay'; delayMs: number }

export type Resource = 'OUT_OF_MEMORY' | 'OUT_OF_DISK'

/** What goes wrong next. Faults are asked in the order in which they were set; a request gets one at most. */
export interface Faults {
  /** Any answer. An object is sent as JSON, a text as it is. */
  answer(status: number, body: object | string, when?: When): void
  /** 503 for writes while /health stays 200: too many of them are queued. Default: until cleared. */
  busy(when?: When): void
  /** 503 for everything, and `{"ok":false}` from /health, until cleared. */
  starting(): void
  /** 422 for writes that take room; deletes are exempt. /health stays ok and names the resource. Until cleared. */
  full(resource: Resource): void
  /** 401 as for a wrong key. Default: everything, until cleared. */
  forbid(when?: When): void
  /** The last line of an import's reply is left out; the documents are in. */
  shortReply(when?: When): void
  /** 200 without a body; the documents are in. */
  emptyReply(when?: When): void
  /** The connection ends after the request's last byte, without an answer; it was done all the same, or not. */
  cut(options: When & { applied: boolean }): void
  /** The connection ends in the middle of the request's body: nothing is applied. */
  cutBody(options: When & { afterBytes: number }): void
  /** The connection ends in the middle of the answer. */
  cutReply(options: When & { afterBytes: number }): void
  /** No answer, until it is cleared or the server closes; then the connection ends. Nothing is applied. */
  stall(when?: When): void
  /** The answer comes later. */
  delay(delayMs: number, when?: When): void
  /** Writes of documents wait, `queued_writes` tells how many; they are applied, and answered, when it is released. */
  holdIndexing(): void
  /**
   * As after a restart: healthy, `queued_writes` above 0, and every collection shows but its first documents (none by
   * default) until it is released. Writes of documents wait.
   */
  fallBehind(options?: { queued?: number; documents?: number }): void
  releaseIndexing(): void
  /** Nothing goes wrong from now on. Stalled requests are cut, held ones go on. */
  clear(): void
}

interface Armed {
  effect: Effect
  on: Match
  left: number
  after: number
}

export interface Plan {
  faults: Faults
  armed: Armed[]
  starting: boolean
  resource: Resource | undefined
  /** Ends waiting requests. */
  cleared: { promise: Promise<void>; resolve: () => void }
}

const NOT_READY: Answer = { status: 503, contentType: JSON_TYPE, body: '{ "message": "Not Ready or Lagging"}' }
export { NOT_READY }

export function planFaults(indexing: {
  hold(): void
  fallBehind(queued: number, documents: number): void
  release(): void
}): Plan {
  const arm = (effect: Effect, { on = 'imports', times = 1, after = 0 }: When = {}) =>
    void plan.armed.push({ effect, on, left: times, after })
  const faults: Faults = {
    answer: (status, body, when) => {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      arm({ kind: 'answer', answer: { status, contentType: JSON_TYPE, body: text } }, when)
    },
    busy: (when) => arm({ kind: 'answer', answer: NOT_READY }, { on: 'writes', times: Infinity, ...when }),
    starting: () => void (plan.starting = true),
    full: (resource) => void (plan.resource = resource),
    forbid: (when) =>
      arm({ kind: 'answer', answer: answerMessage(401, FORBIDDEN) }, { on: 'all', times: Infinity, ...when }),
    shortReply: (when) => arm({ kind: 'reply', change: 'short' }, when),
    emptyReply: (when) => arm({ kind: 'reply', change: 'empty' }, when),
    cut: ({ applied, ...when }) => arm({ kind: 'cut', applied }, when),
    cutBody: ({ afterBytes, ...when }) => arm({ kind: 'cut-body', afterBytes }, when),
    cutReply: ({ afterBytes, ...when }) => arm({ kind: 'cut-reply', afterBytes }, when),
    stall: (when) => arm({ kind: 'stall' }, when),
    delay: (delayMs, when) => arm({ kind: 'delay', delayMs }, when),
    holdIndexing: () => indexing.hold(),
    fallBehind: ({ queued = 178, documents = 0 } = {}) => indexing.fallBehind(queued, documents),
    releaseIndexing: () => indexing.release(),
    clear: () => {
      plan.armed = []
      plan.starting = false
      plan.resource = undefined
      plan.cleared.resolve()
      plan.cleared = Promise.withResolvers<void>()
      indexing.release()
    },
  }
  const plan: Plan = {
    faults,
    armed: [],
    starting: false,
    resource: undefined,
    cleared: Promise.withResolvers<void>(),
  }
  return plan
}

/** The fault that this request gets, counted as used. */
export function takeFault(plan: Plan, asked: Asked): Effect | undefined {
  for (const armed of plan.armed) {
    if (!concerns(armed.on, asked)) continue
    if (armed.after > 0) {
      armed.after -= 1
      continue
    }
    armed.left -= 1
    if (armed.left <= 0) plan.armed = plan.armed.filter((other) => other !== armed)
    return armed.effect
  }
  return undefined
}

export const isWrite = ({ method, path }: Asked) => method !== 'GET' && !/^\/(operations|multi_search)\b/.test(path)

function concerns(on: Match, asked: Asked): boolean {
  if (typeof on === 'function') return on(asked)
  if (on === 'all') return true
  if (on === 'writes') return isWrite(asked)
  return asked.path.endsWith(on === 'imports' ? '/documents/import' : '/documents/export')
}
