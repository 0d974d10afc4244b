import type { CryptoKey } from 'jose'
import { z } from 'zod'
import {
  acceptReplySchema,
  archivesReplySchema,
  completeReplySchema,
  pollReplySchema,
  reportReplySchema,
  type AcceptRequest,
  type ArchivesRequest,
  type CompleteRequest,
  type PollReply,
  type PollRequest,
  type ReportReply,
  type ReportRequest,
} from '@multiboard-sync/shared/protocol'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import type { Caller } from '../report/lease-messages.ts'
import { postJson } from './post-json.ts'
import type { Answer } from './read-answer.ts'

/*
 * The agent's side of protocol v1: every call goes out, signed by the agent's key; nothing ever comes in. One function
 * per endpoint, one request per call: waiting and trying again are the caller's (retry-delay.ts), who knows for how long.
 * It never follows a redirect, never sends a secret, and never takes a stranger's answer for the control plane's.
 */

/** A cold start of a function plus a slow line; a lease is 90 s, so several attempts fit into one. */
const DEFAULT_TIMEOUT_MS = 20_000

/** How many it took: whoever answers something else in its place has taken none. The kid is printed: a thumbprint (RFC 7638). */
const archivesSchema = archivesReplySchema.extend({
  signing_kid: z
    .string()
    .regex(/^[A-Za-z0-9_-]{43}$/)
    .optional(),
})
type ArchivesReply = z.infer<typeof archivesSchema>

type AcceptReply = z.infer<typeof acceptReplySchema>
type CompleteReply = z.infer<typeof completeReplySchema>

/** Every call rejects with ControlPlaneError, or with the signal's reason. */
export interface ControlPlane {
  /** For a thread that calls by itself: what it signs its requests with. */
  readonly caller?: () => Promise<Caller>
  poll(body: PollRequest, signal: AbortSignal): Promise<Answer<PollReply>>
  accept(job: string, body: AcceptRequest, signal: AbortSignal): Promise<Answer<AcceptReply>>
  report(job: string, body: ReportRequest, signal: AbortSignal): Promise<Answer<ReportReply>>
  /** Status 200: the job has ended as `reply.state`. Status 202: events after `reply.ack_aseq` are missing still. */
  complete(job: string, body: CompleteRequest, signal: AbortSignal): Promise<Answer<CompleteReply>>
  archives(body: ArchivesRequest, signal: AbortSignal): Promise<Answer<ArchivesReply>>
}

export interface ControlPlaneOptions {
  /** CONTROL_PLANE_URL; may have a path. */
  url: string
  agent: string
  /** A function: asked before each call, because the agent's key may have been rotated. */
  key: CryptoKey | (() => Promise<CryptoKey>)
  version: string
  timeoutMs?: number
}

export function connectControlPlane(options: ControlPlaneOptions): ControlPlane {
  const base = parseUrl(options.url)
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
  const currentKey = async (): Promise<CryptoKey> =>
    typeof options.key === 'function' ? await options.key() : options.key

  const call = async <T>(path: string, body: object, schema: z.ZodType<T>, signal: AbortSignal): Promise<Answer<T>> => {
    signal.throwIfAborted()
    const url = new URL(`${base.pathname.replace(/\/$/, '')}/v1/agent/${path}`, base.origin)
    const text = JSON.stringify(body)
    const facts = { method: 'POST', path: url.pathname, body: text, origin: base.origin }
    const authorization = await signRequest(facts, options.agent, await currentKey())
    return await postJson(url, text, schema, { authorization, version: options.version, timeoutMs, signal })
  }

  const jobPath = (job: string, verb: string): string => `jobs/${encodeURIComponent(job)}/${verb}`
  const { url, agent, version } = options
  return {
    caller: async () => ({ url, agent, version, key: await currentKey() }),
    poll: async (body, signal) => await call('poll', body, pollReplySchema, signal),
    accept: async (job, body, signal) => await call(jobPath(job, 'accept'), body, acceptReplySchema, signal),
    report: async (job, body, signal) => await call(jobPath(job, 'report'), body, reportReplySchema, signal),
    complete: async (job, body, signal) => await call(jobPath(job, 'complete'), body, completeReplySchema, signal),
    archives: async (body, signal) => await call('archives', body, archivesSchema, signal),
  }
}

/** CONTROL_PLANE_URL, as it may be. Throws `config-invalid`. */
export function parseUrl(text: string): URL {
  const url = URL.parse(text)
  if (url && (url.protocol === 'https:' || url.protocol === 'http:') && !url.username && !url.password && !url.search) {
    return url
  }
  throw new SyncError('config-invalid', 'CONTROL_PLANE_URL is not an http(s) URL without user, password and query.', {
    hint: 'For example https://sync.example.com',
  })
}
