import { generateKeyPair, exportJWK, type JWK } from 'jose'
import { proveKey, publicJwkSchema } from '@multiboard-sync/shared/agent-key'
import { signRequest } from '@multiboard-sync/shared/signed-request'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import {
  archiveOf,
  eventsOf,
  pollBody,
  startSurroundings,
  type Agent,
  type Answer,
  type Surroundings,
} from './surroundings.ts'

/* Requests of an agent that somebody has captured: sent again, altered, kept for later. */

let here: Surroundings
let agent: Agent
beforeAll(async () => {
  here = await startSurroundings()
  agent = await here.registerAgent('vps')
})
afterAll(async () => await here[Symbol.asyncDispose]())
afterEach(() => void vi.useRealTimers())

/** What went over the wire. */
interface Captured {
  path: string
  body: string
  authorization: string
}

async function capture(path: string, body: unknown): Promise<Captured> {
  const text = JSON.stringify(body)
  const facts = { method: 'POST', path, body: text, origin: here.control.url }
  return { path, body: text, authorization: await signRequest(facts, 'vps', agent.key) }
}

async function send({ path, body, authorization }: Captured): Promise<Pick<Answer, 'status' | 'body'>> {
  const response = await fetch(`${here.control.url}${path}`, {
    method: 'POST',
    body,
    headers: { authorization, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(20_000),
  })
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

/** How many rows each of our tables has. How often somebody has called is no row of anybody's. */
async function countRows(): Promise<Record<string, number>> {
  const client = await here.database.client()
  const { rows: tables } = await client.query<{ name: string }>(
    `select tablename as name from pg_tables where schemaname = 'multiboard' and tablename <> 'rate_limits' order by 1`,
  )
  const counts: Record<string, number> = {}
  for (const { name } of tables) {
    const { rows } = await client.query<{ n: number }>(`select count(*)::integer as n from multiboard.${name}`)
    counts[name] = rows[0]?.n ?? -1
  }
  await client.end()
  return counts
}

/** Sends it, and then twice more what was captured of it: answers the one reply, which did something once. */
async function sendAndReplay(path: string, body: unknown): Promise<Pick<Answer, 'status' | 'body'>> {
  const captured = await capture(path, body)
  const first = await send(captured)
  expect({ path, status: first.status }).toEqual({ path, status: 200 })
  const rows = await countRows()
  for (let times = 0; times < 2; times += 1) expect({ path, ...(await send(captured)) }).toEqual({ path, ...first })
  expect(await countRows()).toEqual(rows)
  return first
}

const asRecord = (answer: Pick<Answer, 'body'>): Record<string, unknown> =>
  answer.body as unknown as Record<string, unknown>

test('T10: each request of a whole job, captured and sent again, gets the same reply and makes no row', async () => {
  const asked = await here.ask({ kind: 'export', source: 'production' })
  const waiting = await here.ask({ kind: 'export', source: 'production' })
  const polling = await capture('/v1/agent/poll', pollBody(agent.policy))
  const polled = await send(polling)
  const rows = await countRows()
  expect(await send(polling)).toEqual(polled)
  expect(asRecord(polled)['order']).toEqual(expect.any(String))
  expect(await countRows()).toEqual(rows)

  const job = `/v1/agent/jobs/${asked.id}`
  await sendAndReplay(`${job}/accept`, { epoch: 1, verdict: 'accepted' })
  // The order was taken: who replays the poll now neither gets it again nor another one.
  expect(asRecord(await send(polling))['order']).toBeUndefined()
  expect((await here.job(waiting.id)).state).toBe('queued')
  const report = { epoch: 1, phase: 'exporting', stalled_ms: 0, events: eventsOf(1, 5) }
  await sendAndReplay(`${job}/report`, report)
  await sendAndReplay('/v1/agent/archives', { archives: [archiveOf('20261122T080312Z-production-aaaa')] })
  const result = {
    outcome: 'succeeded',
    target_state: 'untouched',
    tables: 1,
    rows: 1,
    bytes: 1,
    seconds: 1,
    peak_rss_mb: 1,
  }
  await sendAndReplay(`${job}/complete`, { epoch: 1, result, last_aseq: 5 })
  const next = await generateKeyPair('EdDSA', { extractable: true })
  const public_jwk = publicOf(await exportJWK(next.publicKey))
  const proof = await proveKey({ agent: 'vps', origin: here.control.url }, next.privateKey)
  await sendAndReplay('/v1/agent/keys', { public_jwk, proof })
  // What belonged to a running job does not come back to life when it is sent again after the end.
  const late = await send(await capture(`${job}/report`, report))
  expect([late.status, late.body.code]).toEqual([409, 'job-finished'])
})

const publicOf = (jwk: JWK) => publicJwkSchema.parse(jwk)

test('T10: a request with any one character flipped, or sent to another path, is refused', async () => {
  const good = await capture('/v1/agent/archives', { archives: [] })
  const path = '/v1/agent/archives'
  const [scheme = '', token = ''] = good.authorization.split(' ')
  const flip = (text: string, at: number): string => {
    const other = text[at] === 'A' ? 'B' : 'A'
    return `${text.slice(0, at)}${other}${text.slice(at + 1)}`
  }
  const places = (text: string): number[] => Array.from({ length: text.length }, (_, at) => at)
  const altered: Captured[] = [
    ...places(good.body).map((at) => ({ ...good, body: flip(good.body, at) })),
    // Every character of the header and the signature, and some of the claims.
    ...places(token)
      .filter((at) => at < 60 || at > token.length - 90 || at % 9 === 0)
      .map((at) => ({ ...good, authorization: `${scheme} ${flip(token, at)}` })),
    ...['/v1/agent/poll', '/v1/agent/keys', `${path}?x=1`, `${path}/`, '/v1//agent/archives'].map((to) => ({
      ...good,
      path: to,
    })),
  ]
  const passed: string[] = []
  for (const one of altered) {
    const { status } = await send(one)
    if (status !== 401 && !(status === 404 && one.path !== path)) passed.push(`${status} ${JSON.stringify(one)}`)
  }
  expect(passed).toEqual([])
  expect((await send(good)).status).toBe(200)
})

test('T10: a request is taken for a minute by our clock, and from a clock that is ahead up to half of one', async () => {
  const real = Date.now()
  const captured = await capture('/v1/agent/archives', { archives: [] })
  const at = async (seconds: number): Promise<number> => {
    vi.useFakeTimers({ toFake: ['Date'], now: real + seconds * 1000 })
    return (await send(captured)).status
  }
  expect([await at(0), await at(59), await at(62), await at(600)]).toEqual([200, 200, 401, 401])
  expect([await at(-28), await at(-32), await at(-600)]).toEqual([200, 401, 401])
  expect(await at(0)).toBe(200)
})
