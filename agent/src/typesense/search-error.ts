import { SyncError, type SyncErrorCode } from '@multiboard-sync/shared/sync-error'
import { z } from 'zod'

const LEAST_KEY =
  'Give the agent a key with collections:create,get,list,update,delete, documents:import,export,search,get,delete, aliases:get,list,upsert, debug:list, metrics.json:list, stats.json:list (and synonym_sets:list, curation_sets:list, or synonyms:* and overrides:* before version 30), for the aliases and their generations (components.*).'
const SAID_CHARACTERS = 300
/** OpenSSL and Node words that waiting does not mend. */
const CERTIFICATE = /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|EPROTO$|HPE_)/

const messageSchema = z.object({ message: z.string() })

/** An answer that is not a success. `said` is the server's own message, with whatever it quotes: not fit to be told as it is. */
export class AnswerError extends SyncError {
  readonly status: number
  readonly said: string

  constructor(answer: { status: number; said: string }, code: SyncErrorCode, message: string, options: Advice) {
    super(code, message, options)
    this.status = answer.status
    this.said = answer.said
  }
}

interface Advice {
  hint: string
  retryable?: boolean
}

export interface Answer {
  status: number
  contentType: string
  text: string
}

export interface Doing {
  /** A phrase: "listing collections". Names of collections and fields, never ids. */
  doing: string
  /** The server's message may quote ids, values or filters: it is left out. */
  isPrivate?: boolean
}

/** True for JSON of the search server, or lines of it; false for a proxy's page. */
export function isOurs(answer: Pick<Answer, 'contentType'>): boolean {
  return !answer.contentType.startsWith('text/html')
}

/** An answer that is not a success, in our words. `url` is the server's, which must not be told. */
export function fromAnswer(answer: Answer, { doing, isPrivate }: Doing, url?: URL): AnswerError {
  const { status } = answer
  const said = readMessage(answer)
  const facts = { status, said: said ?? '' }
  const quoted =
    said === undefined || isPrivate === true ? '' : `: ${fitToTell(url ? withoutAddress(said, url) : said)}`
  const fail = (code: SyncErrorCode, what: string, advice: Advice): AnswerError =>
    new AnswerError(facts, code, `The search server ${what} (HTTP ${status}, ${doing})${quoted}`, advice)

  if (status >= 300 && status < 400) {
    return fail('search-failed', 'redirects', {
      hint: 'Give the address that it redirects to as TYPESENSE_HOST, with https:// where it is wanted.',
    })
  }
  if (status === 401) return fail('search-auth', 'refused the key', { hint: LEAST_KEY })
  if (status === 413) {
    return fail('search-failed', 'or a proxy before it refused the size of a request', {
      hint: 'Let bodies of 16 MB through, for example client_max_body_size 16m of nginx.',
    })
  }
  if (status === 422 && said !== undefined && /OUT_OF_(DISK|MEMORY)/.test(said)) {
    return fail('search-full', said.includes('OUT_OF_DISK') ? 'has no disk space left' : 'has no memory left', {
      hint: 'Give it more, or drop collections that nothing uses; then reindex.',
    })
  }
  if (status === 503 && said !== undefined) {
    return fail('search-unreachable', 'is not ready or lags behind', {
      hint: 'It takes no writes while too many are queued. Wait until it has caught up.',
      retryable: true,
    })
  }
  if ([408, 429, 502, 503, 504].includes(status) || said === undefined) {
    return fail('search-unreachable', said === undefined ? 'did not answer, something in its place did' : 'is busy', {
      hint: 'Check TYPESENSE_HOST, and what lies between the agent and the search server.',
      retryable: true,
    })
  }
  const isForAMoment = status === 422 && said.includes('in progress')
  return fail('search-failed', 'refused a request', {
    hint: 'Look at the collection and at the state of the search server.',
    retryable: isForAMoment,
  })
}

/** A failure of the network, of TLS or of our own time limits. */
export function fromNetworkError(thrown: unknown, doing: string): SyncError {
  if (thrown instanceof SyncError) return thrown
  const code = readCode(thrown)
  const isForGood = CERTIFICATE.test(code)
  return new SyncError('search-unreachable', `The search server cannot be reached (${code}, ${doing}).`, {
    hint: isForGood
      ? 'Check TYPESENSE_HOST, its certificate, and NODE_EXTRA_CA_CERTS for an authority of your own.'
      : 'Check TYPESENSE_HOST, the network, and that the search server is up.',
    retryable: !isForGood,
    cause: thrown,
  })
}

/** An answer that is a success and cannot be understood: cut off, or something else's. */
export function garbled(doing: string, cause?: unknown): SyncError {
  return new SyncError('search-failed', `The search server's answer cannot be understood (${doing}).`, {
    hint: 'Check TYPESENSE_HOST, and what lies between the agent and the search server.',
    retryable: true,
    cause,
  })
}

function readMessage(answer: Answer): string | undefined {
  if (!isOurs(answer)) return undefined
  try {
    const parsed = messageSchema.safeParse(JSON.parse(answer.text))
    return parsed.success ? parsed.data.message : undefined
  } catch {
    return undefined
  }
}

/** A proxy between tells where it wanted to go, as `host`, `host:port` or a number of its own. */
function withoutAddress(text: string, { hostname, host }: URL): string {
  return text
    .replaceAll(host, '…')
    .replaceAll(hostname, '…')
    .replaceAll(/(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.])/g, '…')
}

/** A message about collections and aliases quotes names, which may be told; addresses and control characters are not. */
function fitToTell(said: string): string {
  const line = said.replaceAll(/\bhttps?:\/\/\S+/g, '…').replaceAll(/[\s\p{C}]+/gu, ' ')
  return line.length > SAID_CHARACTERS ? `${line.slice(0, SAID_CHARACTERS)}…` : line
}

function readCode(thrown: unknown): string {
  const code: unknown = typeof thrown === 'object' && thrown !== null ? Reflect.get(thrown, 'code') : undefined
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'an unknown error'
}
