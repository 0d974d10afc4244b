import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AgentEvent } from '@multiboard-sync/shared/event'
import {
  acceptRequestSchema,
  archivesRequestSchema,
  completeRequestSchema,
  pollRequestSchema,
  reportRequestSchema,
  type CompleteRequest,
  type PollRequest,
} from '@multiboard-sync/shared/protocol'
import { claimedAgent, verifyRequest } from '@multiboard-sync/shared/signed-request'
import type { CryptoKey } from 'jose'

/** A control plane that does what the protocol says, as little of it as there is, and answers wrongly where it is told to. */
export interface Plane extends AsyncDisposable {
  origin: string
  /** What an agent has said and was given; made at its first call. */
  agent(id: string): Seen
}

export type Endpoint = 'poll' | 'accept' | 'report' | 'complete' | 'archives'

export interface Seen {
  polls: PollRequest[]
  /** Handed out with the next polls, one each. */
  orders: string[]
  verdicts: { job: string; verdict: string; code: string | undefined }[]
  events: AgentEvent[]
  completions: { job: string; body: CompleteRequest }[]
  archives: string[]
  /** Instead of an answer; true when it has dealt with the request. */
  misbehave: (endpoint: Endpoint, response: ServerResponse) => boolean
  /** Told of each body as it was sent. */
  onRequest: (endpoint: Endpoint, body: unknown) => void
}

export const LEASE_MS = 90_000
const QUICK_MS = 50

export async function startPlane(publicKey: CryptoKey): Promise<Plane> {
  const agents = new Map<string, Seen>()
  const agent: Plane['agent'] = (id) => {
    const seen = agents.get(id) ?? newSeen()
    agents.set(id, seen)
    return seen
  }
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      response.writeHead(500, { 'content-type': 'text/plain' }).end(String(error))
    })
  })
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString('utf8')
    const path = request.url ?? ''
    const id = claimedAgent(request.headers.authorization)
    const facts = { method: 'POST', path, body: text, origin: `http://${request.headers.host}` }
    await verifyRequest(request.headers.authorization, facts, id, publicKey)
    const seen = agent(id)
    const [, , , verb = '', job = '', deed] = path.split('/')
    const endpoint = (deed ?? verb) as Endpoint
    const body: unknown = JSON.parse(text)
    seen.onRequest(endpoint, body)
    if (seen.misbehave(endpoint, response)) return
    const { status, ...reply } = answer(seen, endpoint, job, body)
    // What a newer control plane adds is none of this agent's business.
    const whole = JSON.stringify({ ...reply, new_field: { moon: 'full' } })
    response.writeHead(status, { 'content-type': 'application/json' }).end(whole)
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    origin: `http://127.0.0.1:${address.port}`,
    agent,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function newSeen(): Seen {
  return {
    polls: [],
    orders: [],
    verdicts: [],
    events: [],
    completions: [],
    archives: [],
    misbehave: () => false,
    onRequest: () => undefined,
  }
}

function answer(
  seen: Seen,
  endpoint: Endpoint,
  job: string,
  body: unknown,
): { status: number; [field: string]: unknown } {
  switch (endpoint) {
    case 'poll': {
      seen.polls.push(pollRequestSchema.parse(body))
      const order = seen.orders.shift()
      return { status: 200, poll_after_ms: QUICK_MS, cancel: [], ...(order === undefined ? {} : { order }) }
    }
    case 'accept': {
      const { verdict, code } = acceptRequestSchema.parse(body)
      seen.verdicts.push({ job, verdict, code })
      return { status: 200, lease_ms: LEASE_MS }
    }
    case 'report': {
      for (const event of reportRequestSchema.parse(body).events) {
        if (event.aseq === seen.events.length + 1) seen.events.push(event)
      }
      return { status: 200, lease_ms: LEASE_MS, cancel: false, ack_aseq: seen.events.length, next_batch_ms: QUICK_MS }
    }
    case 'complete': {
      const complete = completeRequestSchema.parse(body)
      if (seen.events.length < complete.last_aseq) {
        return { status: 202, state: 'running', ack_aseq: seen.events.length }
      }
      seen.completions.push({ job, body: complete })
      return { status: 200, state: complete.result.outcome, ack_aseq: seen.events.length }
    }
    case 'archives':
      seen.archives.push(...archivesRequestSchema.parse(body).archives.map(({ id }) => id))
      return { status: 200, archives: 1 }
  }
}
